import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards import marks
from tests import variants

STOP, MARK = (9,), (7, 8)
# Working 1 2, mark, answer 3; two marks; none; cut off; nothing; three marks.
TOKENS = jnp.array(
    [
        [1, 2, 7, 8, 3, 9, 5],
        [7, 8, 4, 7, 8, 4, 4],
        [1, 7, 2, 8, 9, 7, 8],
        [1, 2, 3, 7, 8, 9, 0],
        [7, 8, 3, 9, 0, 0, 0],
        [7, 8, 7, 8, 7, 8, 6],
    ]
)
MASK = jnp.array(
    [
        [1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
    ],
    bool,
)


def text(tokens, mask):
  rows = zip(np.asarray(tokens), np.asarray(mask))
  return [row[keep].tolist() for row, keep in rows]


@variants.every
def test_split_at_the_last_mark(variant):
  call = lambda tokens, mask: marks.split(
      tokens, mask, mark=MARK, stop_tokens=STOP
  )
  parts = variant(call)(TOKENS, MASK)
  # A half of a mark, or one that was never sampled, is none.
  assert text(TOKENS, parts.answer) == [[3], [4, 4], [], [], [], [6]]
  working = [[1, 2, 7, 8], [7, 8, 4, 7, 8], [1, 7, 2, 8], [1, 2, 3, 7], []]
  working.append([7, 8] * 3)
  assert text(TOKENS, parts.working) == working


def test_without_a_mark_all_is_working_and_answer():
  parts = marks.split(TOKENS, MASK, mark=(), stop_tokens=STOP)
  np.testing.assert_array_equal(*parts)
  assert text(TOKENS, parts.answer)[0] == [1, 2, 7, 8, 3]


# Two separators and a stop, one token behind a separator, a separator at the
# very end, half a separator, nothing, three separators.
STEPS = jnp.array(
    [
        [1, 7, 8, 2, 7, 8, 9],
        [7, 8, 1, 9, 0, 0, 0],
        [1, 2, 3, 4, 5, 7, 8],
        [8, 7, 1, 7, 8, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],
        [7, 8, 7, 8, 7, 8, 6],
    ]
)
STEPS_MASK = jnp.arange(7)[None] < jnp.array([7, 4, 7, 5, 0, 7])[:, None]


@variants.every
@pytest.mark.parametrize(
    "options, expected",
    [
        (
            dict(separator=(7, 8), every=1),
            [[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1], [0] * 7, [0] * 5, [],
             [0, 0, 1, 1, 2, 2, 2]],
        ),
        (
            dict(separator=(), every=2),
            [[0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 2],
             [0, 0, 1, 1, 2], [], [0, 0, 1, 1, 2, 2, 2]],
        ),
    ],
    ids=["separator", "every"],
)  # fmt: skip
def test_step_ids_by_hand(variant, options, expected):
  """What stops a sample is no step of its own; the last step takes the rest."""
  call = lambda *rows: marks.step_ids(
      *rows, num_steps=3, stop_tokens=STOP, **options
  )
  found = variant(call)(STEPS, STEPS_MASK)
  np.testing.assert_array_equal(
      found, [row + [-1] * (7 - len(row)) for row in expected]
  )


def test_step_ids_need_steps():
  with pytest.raises(ValueError, match="step_ids: every must be in"):
    marks.step_ids(STEPS, STEPS_MASK, separator=(), every=0, num_steps=3)


@variants.every
def test_append_answers_behind_the_working(variant):
  answers = jnp.array([[6, 9, 4]] * 6)
  answer_mask = jnp.array([[True, True, False]] * 6)

  def call(tokens, mask, answers, answer_mask):
    working = marks.split(tokens, mask, mark=MARK, stop_tokens=STOP).working
    return marks.append_answers(
        tokens, working, answers, answer_mask, mark=MARK
    )

  done = variant(call)(TOKENS, MASK, answers, answer_mask)
  expected = [
      [1, 2, 7, 8, 6, 9],
      [7, 8, 4, 7, 8, 6, 9],
      [1, 7, 2, 8, 7, 8, 6, 9],
      [1, 2, 3, 7, 7, 8, 6, 9],
      [7, 8, 6, 9],
      [7, 8, 7, 8, 7, 8, 6, 9],
  ]
  assert text(done.tokens, done.mask) == expected
  assert done.tokens.shape == (6, 7 + 2 + 3)
  # Padding stands behind the rest, and the answer where it is said to.
  kept = np.asarray(done.mask)
  assert np.all(kept[:, :-1] >= kept[:, 1:])
  np.testing.assert_array_equal(done.start, [len(x) - 2 for x in expected])


def test_one_reference_serves_a_group():
  tokens, working = np.ones((2, 3, 4), np.int32), np.ones((2, 3, 4), bool)
  answers = jnp.array([[[5, 9]], [[6, 9]]])
  call = lambda *rows: marks.append_answers(*rows, mark=()).tokens
  rows = (tokens, working, answers, np.ones((2, 1, 2), bool))
  done = np.asarray(jax.jit(call)(*rows))
  assert done.shape == (2, 3, 6)
  np.testing.assert_array_equal(done[:, :, 4], [[5] * 3, [6] * 3])


def test_answer_ids_are_equal_where_answers_are():
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, 2, (3, 6, 4))
  mask = rng.integers(0, 2, (3, 6, 4)).astype(bool)
  ids = marks.answer_ids(jnp.asarray(tokens), jnp.asarray(mask))
  for group, said, keep in zip(np.asarray(ids), tokens, mask):
    answers = text(said, keep)
    for i, j in itertools.product(range(6), repeat=2):
      same = bool(answers[i]) and answers[i] == answers[j]
      assert (group[i] == group[j] and group[i] >= 0) == same
  mapped = jax.jit(jax.vmap(marks.answer_ids))(
      jnp.asarray(tokens), jnp.asarray(mask)
  )
  np.testing.assert_array_equal(mapped, ids)


def test_mismatched_shapes_are_named(no_jaxtyping):
  with pytest.raises(ValueError, match="split: .*'mask': \\(2,\\)"):
    marks.split(jnp.ones(3, int), jnp.ones(2, bool), mark=(), stop_tokens=STOP)
  with pytest.raises(ValueError, match="append_answers: .*answer_mask"):
    marks.append_answers(
        jnp.ones(3, int), jnp.ones(3, bool), jnp.ones(2, int),
        jnp.ones(1, bool), mark=(),
    )  # fmt: skip
