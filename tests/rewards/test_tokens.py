import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards.verifiers import tokens
from tests import variants

# Digits are themselves, 10 is the minus, 11 and 12 stop, 13 pads.
STOPS, PAD = (11, 12), 13
EXACT = functools.partial(tokens.exact_match, stop_tokens=STOPS)
INTEGER = functools.partial(
    tokens.integer_match,
    digit_tokens=tuple(range(10)),
    minus_token=10,
    stop_tokens=STOPS,
    on_unparsable="invalid",
)
# One program for all calls of one shape.
exact = jax.jit(EXACT, static_argnames="on_truncated")
integer = jax.jit(INTEGER, static_argnames=("on_truncated", "on_unparsable"))


def rows(texts, length, stop=11):
  """Tokens and mask of texts such as "-12|", where | is the stop token."""
  ids = [["0123456789-|".index(x) for x in text] for text in texts]
  ids = [[stop if x == 11 else x for x in row] for row in ids]
  tokens_ = np.full((len(ids), length), PAD)
  for i, row in enumerate(ids):
    tokens_[i, : len(row)] = row
  mask = np.arange(length) < np.array([len(row) for row in ids])[:, None]
  return tokens_, mask


SAID = ["12|", "112|", "1|", "12", "|", "12|", "2|1|", "-12|"]
SHAPE = (4, 2)


def said(length=5, stop=11):
  ids, mask = rows(SAID, length, stop)
  truncated = ~np.any(mask & (ids == stop), -1)
  return (
      ids.reshape(*SHAPE, length),
      mask.reshape(*SHAPE, length),
      truncated.reshape(SHAPE),
  )


def references(texts=("12|", "1|", "|", "21|"), length=3):
  ids, mask = rows(texts, length)
  return ids[:, None], mask[:, None]


@variants.every
def test_exact_match_by_hand(variant):
  arrays = map(jnp.asarray, (*said(), *references()))
  reward = variant(EXACT)(*arrays)
  # "12" was cut off: right as far as it goes, but it never stopped.
  expected = [[1, 0], [1, 0], [1, 0], [0, 0]]
  np.testing.assert_array_equal(reward.value, expected)
  assert reward.valid.all()
  assert reward.value.dtype == jnp.float32


def test_padding_may_hold_anything():
  """Pain 12 (TRL #3750): what the mask hides has no part in the score."""
  ids, mask, truncated = said()
  expected = exact(ids, mask, truncated, *references())
  for poison in (0, 2, 11, -1):
    poisoned = np.where(mask, ids, poison)
    reward = exact(poisoned, mask, truncated, *references())
    np.testing.assert_array_equal(reward.value, expected.value)
    right, right_mask = references()
    right = np.where(right_mask, right, poison)
    reward = exact(ids, mask, truncated, right, right_mask)
    np.testing.assert_array_equal(reward.value, expected.value)


@pytest.mark.parametrize("length", [4, 5, 9])
@pytest.mark.parametrize("right_length", [3, 4, 9])
def test_lengths_of_the_arrays_do_not_matter(length, right_length):
  reward = exact(*said(length), *references(length=right_length))
  expected = exact(*said(), *references())
  np.testing.assert_array_equal(reward.value, expected.value)


def test_each_of_several_stop_tokens_ends_a_text():
  """Pain 26 (TRL #7039): several EOS ids were counted as truncation."""
  reward = exact(*said(stop=12), *references())
  expected = exact(*said(), *references())
  np.testing.assert_array_equal(reward.value, expected.value)
  # References match with and without their own stop token.
  reward = exact(*said(), *references(("12", "1", "", "21")))
  np.testing.assert_array_equal(reward.value, expected.value)


@pytest.mark.parametrize("policy", [0.0, -1.0, "invalid"])
def test_truncated_completions_follow_their_policy(policy):
  ids, mask, truncated = said()
  reward = exact(ids, mask, truncated, *references(), on_truncated=policy)
  where = np.asarray(truncated)
  assert where.sum() == 1
  if policy == "invalid":
    np.testing.assert_array_equal(reward.valid, ~where)
  else:
    assert reward.valid.all()
    np.testing.assert_array_equal(np.asarray(reward.value)[where], policy)


def test_a_row_that_was_never_sampled_is_invalid():
  """Pain 7 (TRL #5773): no sample is no zero."""
  ids, mask, truncated = said()
  nothing = np.zeros_like(mask)
  assert not exact(ids, nothing, truncated, *references()).valid.any()
  right = np.zeros(SHAPE, int)
  assert not integer(ids, nothing, truncated, right).valid.any()


def test_a_mask_with_a_hole_matches_nothing():
  ids, mask = rows(["12|"], 3)
  hole = mask.copy()
  hole[0, 0] = False
  right = rows(["2|"], 3)
  no = np.zeros(1, bool)
  assert exact(ids, hole, no, *right).value == 0
  assert not integer(ids, hole, no, np.array([2])).valid.any()


PARSED = {
    "0|": 0,
    "007|": 7,
    "-0|": 0,
    "-12": -12,
    "123456789|": 123456789,
    "-999999999|": -999999999,
    "000000001|": 1,
}
REFUSED = ["|", "-|", "--1|", "1-|", "1-2|", "1234567890|", "0000000001|"]


def test_parse_integer_agrees_with_python():
  ids, mask = rows([*PARSED, *REFUSED], 12)
  parse = functools.partial(
      tokens.parse_integer,
      digit_tokens=tuple(range(10)),
      minus_token=10,
      stop_tokens=STOPS,
  )
  value, parsable = jax.jit(parse)(ids, mask)
  zeros = [0] * len(REFUSED)
  np.testing.assert_array_equal(value, [*PARSED.values(), *zeros])
  expected = [True] * len(PARSED) + [False] * len(REFUSED)
  np.testing.assert_array_equal(parsable, expected)


@variants.every
def test_integer_match_by_hand(variant):
  right = np.array([[12], [1], [0], [-12]])
  arrays = map(jnp.asarray, (*said(), right))
  reward = variant(INTEGER)(*arrays)
  # "12" was cut off; "|" says nothing.
  np.testing.assert_array_equal(
      np.where(reward.valid, reward.value, -9),
      [[1, 0], [1, 0], [-9, 0], [0, 1]],
  )


def test_policies_of_integer_match():
  arguments = (*said(), np.array([[12], [1], [0], [-12]]))
  reward = integer(*arguments, on_unparsable=-0.5, on_truncated="invalid")
  np.testing.assert_array_equal(reward.valid, [[1, 1], [1, 0], [1, 1], [1, 1]])
  assert reward.value[2, 0] == -0.5


def test_one_trace_for_any_batch_contents():
  calls = []

  @jax.jit
  def verify(*arguments):
    calls.append(1)
    return EXACT(*arguments)

  verify(*said(), *references())
  verify(*said(stop=12), *references(("1|", "2|", "3|", "4|")))
  assert len(calls) == 1


def test_errors_name_the_argument(no_jaxtyping):
  ids, mask, truncated = map(jnp.asarray, said())
  right = [jnp.asarray(x) for x in references()]
  with pytest.raises(ValueError, match="tokens.exact_match: expected one"):
    EXACT(ids, mask[..., 1:], truncated, *right)
  with pytest.raises(ValueError, match=r"truncated must have shape \(4, 2\)"):
    EXACT(ids, mask, truncated[0], *right)
  with pytest.raises(ValueError, match='on_truncated must be a number or "inv'):
    EXACT(ids, mask, truncated, *right, on_truncated="zero")
  with pytest.raises(ValueError, match="on_truncated must be in"):
    EXACT(ids, mask, truncated, *right, on_truncated=float("nan"))
  with pytest.raises(ValueError, match="references must broadcast"):
    INTEGER(ids, mask, truncated, jnp.zeros(3, int))
  with pytest.raises(ValueError, match="digit_tokens must be ten ids"):
    INTEGER(ids, mask, truncated, jnp.zeros(SHAPE, int), digit_tokens=(1,))
