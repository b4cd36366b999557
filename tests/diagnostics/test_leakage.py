import functools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import leakage
from tests import variants

leakage = variants.programs(leakage)

VOCAB = 12
RNG = np.random.default_rng(0)


def slow_lcs(a, b):
  """Another road: recursion with a memory."""

  @functools.cache
  def best(i, j):
    if i == len(a) or j == len(b):
      return 0
    if a[i] == b[j]:
      return 1 + best(i + 1, j + 1)
    return max(best(i + 1, j), best(i, j + 1))

  return best(0, 0)


def test_common_subsequence_is_that_of_the_recursion():
  first, second = RNG.integers(0, 4, (30, 9)), RNG.integers(0, 4, (30, 7))
  masks = RNG.random((30, 9)) < 0.8, RNG.random((30, 7)) < 0.8
  actual = leakage.longest_common_subsequence(
      *map(jnp.asarray, (first, second, *masks))
  )
  expected = [
      slow_lcs(tuple(a[m]), tuple(b[n]))
      for a, b, m, n in zip(first, second, *masks)
  ]
  np.testing.assert_array_equal(actual, expected)


@variants.every
def test_rouge_by_hand(variant):
  first = jnp.array([[1, 2, 3, 4], [1, 2, 3, 4]])
  second = jnp.array([[1, 9, 3], [5, 5, 5]])
  masks = jnp.ones((2, 4), bool), jnp.ones((2, 3), bool)
  actual = variant(leakage.rouge_l)(first, second, *masks)
  np.testing.assert_allclose(actual, [2 * 2 / 7, 0], rtol=1e-6)


def test_nothing_has_no_overlap():
  none = jnp.zeros((1, 3), bool)
  tokens = jnp.ones((1, 3), int)
  assert leakage.rouge_l(tokens, tokens, none, none) == 0.0


def table_model(params, tokens, mask):
  """Logits of the next token from the last: `params` [V, V]; reads `mask`."""
  return params[jnp.where(mask, tokens, 0)]


def successor():
  """Counts upward: after v comes v + 1."""
  return np.roll(np.eye(VOCAB, dtype=np.float32), 1, axis=1)


def test_completion_keeps_what_is_shown_and_goes_on_greedily():
  tokens = jnp.array([[3, 3, 7, 1], [5, 1, 1, 1]])
  shown = jnp.array([3, 1])
  actual = leakage.greedy_completion(table_model, successor(), tokens, shown)
  np.testing.assert_array_equal(actual, [[3, 3, 7, 8], [5, 6, 7, 8]])


def rows():
  """Ten prompt tokens and two of the answer; three kinds of row."""
  found = np.tile(np.arange(12) % VOCAB, (3, 1))
  found[1, 9] = 0  # the last token of the prompt comes out wrong
  found[2, 11] = 0  # the answer does
  return found


def masks(length=10):
  positions = np.tile(np.arange(12), (3, 1))
  return positions < length, positions >= 10


@pytest.mark.parametrize("fraction, missing", [(0.4, 6), (0.6, 4), (0.8, 2)])
def test_probe_by_hand(fraction, missing):
  probe = leakage.partial_prompt_probe(
      table_model, successor(), rows(), *masks(), fraction=fraction
  )
  np.testing.assert_array_equal(probe.exact, [True, False, True])
  # The answer counts whatever stood before: row 1 has it, row 2 has not.
  np.testing.assert_array_equal(probe.answer, [True, True, False])
  expected = [1, (missing - 1) / missing, 1]
  np.testing.assert_allclose(probe.rouge_l, expected, rtol=1e-6)
  means = leakage.summary(probe)
  np.testing.assert_allclose(means["exact"].value, 2 / 3, rtol=1e-6)
  np.testing.assert_allclose(means["answer"].value, 2 / 3, rtol=1e-6)


def test_short_prompts_and_full_prefixes_are_not_valid():
  probe = leakage.partial_prompt_probe(
      table_model, successor(), rows(), *masks(9), fraction=0.5
  )
  assert not np.any(probe.valid | probe.exact | probe.answer)
  assert np.all(np.isnan(probe.rouge_l))
  assert leakage.summary(probe)["rouge_l"].value == 0.0
  for fraction in (0.0, 1.0):
    probe = leakage.partial_prompt_probe(
        table_model, successor(), rows(), *masks(), fraction=fraction
    )
    assert not np.any(probe.valid)


def test_shown_tokens_do_not_round_down():
  mask = jnp.ones((1, 5), bool)
  for fraction, expected in ((0.6, 3), (0.4, 2), (0.8, 4), (0.5, 2)):
    shown = leakage.prefix_lengths(mask, fraction=fraction)
    np.testing.assert_array_equal(shown, [expected])


def test_leak_score_is_the_gap_of_exact_matches():
  probe = lambda exact: leakage.Probe(
      jnp.array(exact), jnp.ones(4), jnp.ones(4, bool), jnp.ones(4, bool)
  )
  seen, fresh = probe([True] * 3 + [False]), probe([True] + [False] * 3)
  assert leakage.leak_score(seen, fresh) == 0.5
  empty = fresh._replace(valid=jnp.zeros(4, bool))
  assert leakage.leak_score(seen, empty) == 0.0


def test_a_table_that_remembers_its_strings_is_found_out():
  """Strings of distinct tokens are in the table, fresh orders are not."""
  rng = np.random.default_rng(1)
  strings = np.stack([rng.permutation(VOCAB) for _ in range(1)])
  fresh = np.stack([rng.permutation(VOCAB) for _ in range(8)])
  table = np.zeros((VOCAB, VOCAB), np.float32)
  table[strings[0, :-1], strings[0, 1:]] = 1.0
  probe = lambda tokens: leakage.partial_prompt_probe(
      table_model,
      jnp.asarray(table),
      jnp.asarray(tokens),
      jnp.ones(tokens.shape, bool),
      jnp.zeros(tokens.shape, bool),
      fraction=0.4,
  )
  assert leakage.leak_score(probe(strings), probe(fresh)) == 1.0


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="fraction must be in"):
    leakage.prefix_lengths(jnp.ones((1, 5), bool), fraction=1.5)
  with pytest.raises(ValueError, match=r"'shown': \(3,\)"):
    leakage.greedy_completion(
        table_model, successor(), rows()[:2], jnp.ones(3, int)
    )
