import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.models.scenes import SceneEvaluator

NET = SceneEvaluator(8)
PATHS = jnp.array(np.random.default_rng(0).normal(size=(2, 4, 3, 2)), "f")
CONTEXT = jnp.array([[1.0], [2.0]])
MASK = jnp.array([[True, True, False, True], [True, True, True, False]])


init, apply = jax.jit(NET.init), jax.jit(NET.apply)


def params_of(*args):
  draw = np.random.default_rng(1).normal
  noise = lambda p: (p + 0.1 * draw(size=p.shape)).astype(p.dtype)
  return jax.tree.map(noise, jax.device_get(init(jax.random.key(1), *args)))


def test_order_matters_only_for_the_ego():
  params = params_of(PATHS)
  scores = apply(params, PATHS)
  others = apply(params, PATHS[:, jnp.array([0, 3, 1, 2])])
  np.testing.assert_allclose(others, scores, rtol=1e-5, atol=1e-6)
  swapped = apply(params, PATHS[:, jnp.array([1, 0, 2, 3])])
  assert np.all(np.abs(swapped - scores) > 1e-4)


def test_masked_agents_are_absent():
  params = params_of(PATHS, MASK, CONTEXT)
  hidden = jnp.where(MASK[..., None, None], PATHS, jnp.nan)
  scores = NET.apply(params, hidden, MASK, CONTEXT)
  alone = apply(params, PATHS[:1, jnp.array([0, 1, 3])], None, CONTEXT[:1])
  np.testing.assert_allclose(scores[:1], alone, rtol=1e-5)
  slope = jax.grad(
      lambda x: jnp.sum(NET.apply(params, x, MASK, CONTEXT))
  )(hidden)
  np.testing.assert_array_equal(slope[~MASK], 0.0)
  assert np.all(np.isfinite(slope))


def test_first_scores_are_zero():
  params = init(jax.random.key(1), PATHS)
  np.testing.assert_array_equal(apply(params, PATHS), 0.0)
