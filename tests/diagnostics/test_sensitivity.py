import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import sensitivity
from tests import variants

sensitivity = variants.programs(sensitivity)

T, F = True, False
# Two tasks; columns: level 1, level 2, jargon, flip, padding.
OUTCOMES = sensitivity.Outcomes(
    passes_original=jnp.array([[T, F, T, T, T], [T, T, F, F, T]]),
    passes_changed=jnp.array([[F, F, F, F, T], [F, F, F, T, T]]),
    is_flip=jnp.array([[F, F, F, T, T], [F, F, F, T, F]]),
    level=jnp.array([[1, 2, 0, 0, 1], [1, 2, 0, 0, 2]]),
    mask=jnp.array([[T, T, T, T, F], [T, T, T, T, F]]),
)


def test_scores_by_hand():
  found = sensitivity.scores(OUTCOMES, num_levels=3)
  np.testing.assert_allclose(found.retain_at, [0.5, 1, 0.5, 0])
  np.testing.assert_allclose(found.retain, 4 / 6, rtol=1e-6)
  np.testing.assert_allclose([found.adapt, found.stale], 0.5)
  np.testing.assert_allclose(found.differential, 4 / 6 - 0.5, rtol=1e-6)


def test_weights_count_tasks_more_than_once():
  twice = jax.tree.map(lambda x: x[jnp.array([0, 0, 1])], OUTCOMES)
  by_copy = sensitivity.scores(twice)
  by_weight = jax.jit(sensitivity.scores)(OUTCOMES, jnp.array([2.0, 1.0]))
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
      by_copy,
      by_weight,
  )


def test_a_crash_is_not_an_adaptation():
  crashed = OUTCOMES._replace(
      passes_original=jnp.zeros((2, 5), bool),
      passes_changed=jnp.zeros((2, 5), bool),
  )
  found = sensitivity.scores(crashed)
  assert found.adapt == found.stale == found.retain == 0


def test_nothing_to_count_is_zero():
  empty = OUTCOMES._replace(mask=jnp.zeros((2, 5), bool))
  for leaf in jax.tree.leaves(sensitivity.scores(empty)):
    np.testing.assert_array_equal(leaf, 0.0)


def test_bootstrap_covers_the_score_and_is_exact_without_variation():
  rng = np.random.default_rng(0)
  shape = (200, 3)
  draws = jnp.asarray(rng.random(shape) < 0.3)
  flat = sensitivity.Outcomes(
      draws, draws, jnp.zeros(shape, bool), jnp.zeros(shape, int),
      jnp.ones(shape, bool),
  )
  low, high = sensitivity.bootstrap(jax.random.key(0), flat)
  middle = sensitivity.scores(flat).retain
  assert low.retain < middle < high.retain
  # A binomial of 600: +- 1.96 * sqrt(.3 * .7 / 600) = .037
  np.testing.assert_allclose(high.retain - low.retain, 0.073, atol=0.015)
  same = flat._replace(passes_original=jnp.ones(shape, bool))
  low, high = sensitivity.bootstrap(jax.random.key(0), same, num_draws=20)
  assert low.retain == high.retain == 1.0


@variants.every
def test_differential_reward_by_hand(variant):
  original = jnp.array([[T, T], [F, F]])
  changed = jnp.array([[F, F], [T, T]])
  flip = jnp.array([[F, T], [F, T]])
  actual = variant(sensitivity.differential_reward)(original, changed, flip)
  np.testing.assert_array_equal(actual, [[1, 0], [0, 1]])


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="coverage must be in"):
    sensitivity.bootstrap(jax.random.key(0), OUTCOMES, coverage=1.0)
  with pytest.raises(ValueError, match=r"'weights': \(3,\)"):
    sensitivity.scores(OUTCOMES, jnp.ones(3))
