import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import experts

STATES = jax.random.normal(jax.random.key(0), (5, 3, 4))


def fused():
  module = experts.ExpertFusion(hidden=6)
  params = module.init(jax.random.key(1), STATES)
  out = params["params"]["Dense_1"]
  out["kernel"] = jax.random.normal(jax.random.key(2), out["kernel"].shape)
  return module, params


def test_fusion_reads_all_states_at_once():
  module, params = fused()
  assert not np.any(module.apply(
      module.init(jax.random.key(1), STATES), STATES
  ))
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
  x = np.asarray(STATES, np.float64).reshape(5, 12)
  hidden = x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
  slope = p["PReLU_0"]["negative_slope"]
  hidden = np.where(hidden >= 0, hidden, slope * hidden)
  expected = hidden @ p["Dense_1"]["kernel"][:, 0] + p["Dense_1"]["bias"]
  np.testing.assert_allclose(module.apply(params, STATES), expected, rtol=1e-4)
  one = module.apply(params, STATES[2])
  np.testing.assert_allclose(one, expected[2], rtol=1e-4)


def test_experts_are_not_trained_along():
  module, params = fused()
  slope = jax.grad(
      lambda p, s: jnp.sum(module.apply(p, s)), (0, 1)
  )(params, STATES)
  np.testing.assert_array_equal(slope[1], 0)
  assert all(np.any(x) for x in jax.tree.leaves(slope[0]))


def test_the_router_picks_one_expert_for_each_prompt():
  logits = jnp.array([[0.1, 3.0], [2.0, -1.0], [0.0, 0.0]])
  rewards = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
  picked, chosen = experts.route(logits, rewards)
  np.testing.assert_array_equal(picked, [2, 3, 5])
  np.testing.assert_array_equal(chosen, [1, 0, 0])
  slope = jax.grad(
      lambda q, r: jnp.sum(experts.route(q, r)[0]), (0, 1)
  )(logits, rewards)
  np.testing.assert_array_equal(slope[0], 0)
  np.testing.assert_array_equal(slope[1], [[0, 1], [1, 0], [1, 0]])


def test_names_bad_shapes(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'rewards': \(2, 2\)"):
    experts.route(jnp.ones((2, 3)), jnp.ones((2, 2)))
