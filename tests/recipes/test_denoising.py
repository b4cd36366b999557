import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import denoising

NAN = jnp.nan
# Ratios 1.3 and 1; the second step of the second sample drew no noise.
NEW = jnp.array([[np.log(1.3), 0.0], [np.log(1.3), NAN]])
OLD = jnp.zeros((2, 2))
ADVANTAGES = jnp.array([[1.0], [-1.0]])
MASK = jnp.array([[True, True], [True, False]])


def test_step_policy_loss_by_hand():
  found = denoising.step_policy_loss(NEW, OLD, ADVANTAGES, MASK)
  # Clipped at 1.2 where A is 1; not where it is -1.
  assert float(found.weight) == 3
  assert float(found.total) == pytest.approx(-1.2 - 1.0 + 1.3, rel=1e-5)
  weighed = denoising.step_policy_loss(
      NEW, OLD, ADVANTAGES, MASK, weights=jnp.array([2.0, 0.5])
  )
  assert float(weighed.total) == pytest.approx(-2.4 - 0.5 + 2.6, rel=1e-5)
  bounded = denoising.step_policy_loss(
      NEW, OLD, ADVANTAGES, MASK, max_advantage=0.1
  )
  assert float(bounded.total) == pytest.approx(-0.12 - 0.1 + 0.13, rel=1e-5)


def test_gradient_stops_where_clipped_and_masked():
  slope = jax.grad(
      lambda x: denoising.step_policy_loss(x, OLD, ADVANTAGES, MASK).total
  )(NEW)
  np.testing.assert_allclose(slope, [[0, -1], [1.3, 0]], rtol=1e-5)


def test_a_huge_ratio_is_finite():
  far = jnp.full((1, 1), 1e4)
  found = denoising.step_policy_loss(far, 0 * far, -jnp.ones((1, 1)))
  assert np.isfinite(float(found.total))


def gen_drive(log_probs, errors, rewards, anchor=0.5):
  return denoising.gen_drive(
      log_probs, jnp.zeros((2, 2, 3)), rewards, errors, anchor=anchor
  )


def test_without_a_difference_only_the_anchor_teaches():
  log_probs = 0.1 * jnp.ones((2, 2, 3))
  equal, errors = jnp.full((2, 2), 0.7), jnp.array([1.0, 3.0])
  loss = lambda *args: gen_drive(*args)[0]
  assert float(loss(log_probs, errors, equal)) == pytest.approx(1.0)
  slopes = jax.grad(loss, (0, 1, 2))(log_probs, errors, equal)
  np.testing.assert_array_equal(slopes[0], 0.0)
  np.testing.assert_allclose(slopes[1], [0.25, 0.25])
  np.testing.assert_array_equal(slopes[2], 0.0)


def test_better_scenes_become_likelier():
  rewards = jnp.array([[0.0, 1.0], [5.0, 3.0]])
  loss, metrics = gen_drive(jnp.zeros((2, 2, 3)), jnp.ones(2), rewards)
  np.testing.assert_allclose(
      loss, metrics["policy"].value + 0.5 * metrics["denoising"].value
  )
  slope = jax.grad(
      lambda x: gen_drive(x, jnp.ones(2), rewards)[0]
  )(jnp.zeros((2, 2, 3)))
  expected = np.array([[1, -1], [-1, 1]]) * np.sqrt(0.5) / 12
  np.testing.assert_allclose(slope[..., 0], expected, rtol=1e-3)


def test_selection_of_one_is_a_plain_sample():
  draw = lambda keys: dict(x=jax.vmap(jax.random.normal)(keys))
  key = jax.random.key(3)
  chosen, best = denoising.generate_then_evaluate(
      key, draw, lambda s: s["x"], num_samples=1
  )
  plain = draw(jax.random.split(key, 1))
  assert int(best) == 0 and float(chosen["x"]) == float(plain["x"][0])


def test_more_samples_are_never_worse_on_average():
  """Means of the maxima of n normal draws: 0, 0.564, 1.029, 1.424."""
  draw = jax.vmap(jax.random.normal)
  for n, expected in ((1, 0.0), (2, 0.5642), (4, 1.0294), (8, 1.4236)):
    pick = lambda key, n=n: denoising.generate_then_evaluate(
        key, draw, lambda x: x, num_samples=n
    )[0]
    found = jax.vmap(pick)(jax.random.split(jax.random.key(0), 4000))
    assert float(jnp.mean(found)) == pytest.approx(expected, abs=0.06)


def test_no_number_is_never_chosen():
  scores = jnp.array([NAN, 1.0, 2.0, NAN])
  pick = lambda scores: denoising.generate_then_evaluate(
      jax.random.key(0), lambda keys: jnp.arange(4), lambda x: scores,
      num_samples=4,
  )
  assert int(pick(scores)[0]) == 2
  assert int(pick(jnp.full(4, NAN))[1]) == 0


def test_errors_name_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="num_samples must be in"):
    denoising.generate_then_evaluate(
        jax.random.key(0), lambda k: k, lambda x: x, num_samples=0
    )
  with pytest.raises(ValueError, match="'weights': \\(3,\\)"):
    denoising.step_policy_loss(NEW, OLD, ADVANTAGES, weights=jnp.ones(3))
  with pytest.raises(ValueError, match="max_advantage must be in"):
    denoising.step_policy_loss(NEW, OLD, ADVANTAGES, max_advantage=0.0)
  with pytest.raises(ValueError, match="advantages must broadcast"):
    denoising.step_policy_loss(NEW, OLD, jnp.ones((3, 1)))
