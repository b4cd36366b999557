import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.advantages.outcome import balanced, one_of_each
from rewardjax.core import reduction
from tests import variants

NAN = jnp.nan


def test_leave_one_out_of_signed_outcomes():
  outcomes = jnp.array([1.0, -1, -1, 1, -1, -1, -1, -1])
  expected = jnp.where(outcomes > 0, 1.714286, -0.571429)
  np.testing.assert_allclose(
      group.leave_one_out(outcomes), expected, atol=1e-6
  )


@pytest.mark.parametrize("right", range(1, 8))
def test_leave_one_out_weighs_by_the_pass_rate(right):
  """2 (1 - p) and -2 p, up to the n / (n - 1) of leaving oneself out."""
  outcomes = jnp.where(jnp.arange(8) < right, 1.0, -1.0)
  p = right / 8
  expected = np.where(outcomes > 0, 2 * (1 - p), -2 * p) * 8 / 7
  actual = group.leave_one_out(outcomes)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_mean_scores_of_the_two_kinds_balance():
  """p E+[s] = -(1 - p) E-[s], since the score has mean 0."""
  p = jnp.array([0.4, 0.1, 0.3, 0.2])
  scores = jnp.eye(4) - p[None]  # grad of log p(a) in the logits
  right, wrong = p[:2], p[2:]
  of_right = jnp.sum(right) * (right @ scores[:2]) / jnp.sum(right)
  of_wrong = jnp.sum(wrong) * (wrong @ scores[2:]) / jnp.sum(wrong)
  np.testing.assert_allclose(of_right, -of_wrong, atol=1e-7)


CORRECT = jnp.array([[True, False, True, False], [True, True, True, False]])


@variants.every
def test_one_of_each_by_hand(variant):
  uniforms = jnp.array([[0.1, 0.2, 0.9, 0.7], [0.3, 0.2, NAN, 0.0]])
  mask = jnp.array([[True] * 4, [True, True, False, True]])
  actual = variant(one_of_each)(uniforms, CORRECT, mask)
  expected = [[False, False, True, True], [True, False, False, True]]
  np.testing.assert_array_equal(actual, expected)


def test_groups_of_one_kind_keep_nobody():
  uniforms = jnp.zeros((3, 4))
  correct = jnp.array([[True] * 4, [False] * 4, [True] + [False] * 3])
  mask = jnp.array([[True] * 4, [True] * 4, [False] + [True] * 3])
  assert not jnp.any(one_of_each(uniforms, correct, mask))
  assert not jnp.any(one_of_each(uniforms, correct, jnp.zeros((3, 4), bool)))
  # Equal numbers: the first of each kind.
  kept = one_of_each(uniforms[:2], CORRECT)
  expected = [[True, True, False, False], [True, False, False, True]]
  np.testing.assert_array_equal(kept, expected)


def test_one_mean_over_all_is_the_sum_of_two_means():
  random = np.random.default_rng(0)
  x, losses = random.normal(size=(2, 5, 7))
  positive, mask = random.random((2, 5, 7)) < 0.6
  advantages = balanced(
      jnp.array(np.where(mask, x, NAN)),
      jnp.array(positive),
      jnp.array(mask),
      negative_coefficient=0.5,
  )
  actual = reduction.token_mean(advantages * losses, jnp.array(mask)).value
  product = x * losses
  expected = np.mean(product[mask & positive])
  expected += 0.5 * np.mean(product[mask & ~positive])
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@variants.every
def test_balanced_by_hand(variant):
  # Every member of the mapped batch is a batch of its own: equal rows.
  x = jnp.array([[3.0, 1.0, -2.0, NAN]] * 2)
  positive = jnp.array([[True, False, False, True]] * 2)
  mask = jnp.array([[True, True, True, False]] * 2)
  actual = variant(balanced)(x, positive, mask)
  np.testing.assert_allclose(actual, [[9, 1.5, -3, 0]] * 2, rtol=1e-6)


def test_balanced_edges_and_gradient():
  x, yes = jnp.array([1.0, NAN, 3.0]), jnp.ones(3, bool)
  mask = jnp.array([True, False, True])
  # One kind alone weighs 1, or the coefficient.
  np.testing.assert_array_equal(balanced(x, yes, mask), [1, 0, 3])
  other = balanced(x, ~yes, mask, negative_coefficient=0.5)
  np.testing.assert_array_equal(other, [0.5, 0, 1.5])
  np.testing.assert_array_equal(balanced(x, yes, ~yes), 0)
  positive = jnp.array([True, True, False])
  slope = jax.grad(lambda x: jnp.sum(balanced(x, positive, mask)))(x)
  np.testing.assert_array_equal(slope, [2, 0, 2])
  assert balanced(x.astype(jnp.bfloat16), yes, mask).dtype == jnp.float32


def test_errors(no_jaxtyping):
  x, yes = jnp.ones(2), jnp.ones(2, bool)
  with pytest.raises(ValueError, match="negative_coefficient must be in"):
    balanced(x, yes, yes, negative_coefficient=-1.0)
  with pytest.raises(ValueError, match=r"balanced: .*'mask': \(3,\)"):
    balanced(x, yes, jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"one_of_each: .*'correct': \(3,\)"):
    one_of_each(x, jnp.ones(3, bool))
