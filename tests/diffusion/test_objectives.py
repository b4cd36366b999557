import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diffusion import objectives
from tests import variants

A = jnp.array([[1.0, 2.0], [0.0, -1.0]])
B = jnp.array([[0.0, 0.0], [3.0, 1.0]])


def test_denoise_error_by_hand():
  np.testing.assert_allclose(objectives.denoise_error(A, B), [5.0, 13.0])
  error = lambda a, b: jnp.sum(objectives.denoise_error(a, b))
  to_a, to_b = jax.grad(error, (0, 1))(A, B)
  np.testing.assert_allclose(to_a, 2 * (A - B))
  np.testing.assert_array_equal(to_b, 0.0)


@variants.every
def test_flow_dpo_by_hand(variant):
  """Errors .10 and .30 against .12 and .25 with beta 500: argument 17.5."""
  row = lambda x: jnp.array([x, x])
  loss = variant(lambda *e: objectives.flow_dpo_loss(*e, beta=500.0))
  actual = loss(row(0.10), row(0.30), row(0.12), row(0.25))
  np.testing.assert_allclose(actual, np.log1p(np.exp(-17.5)), rtol=1e-3)
  actual = loss(row(0.30), row(0.10), row(0.25), row(0.12))
  np.testing.assert_allclose(actual, 17.5, rtol=1e-5)


def test_flow_dpo_of_the_reference_itself():
  e = jnp.array([0.3, 0.7])
  loss = lambda *errors: jnp.sum(objectives.flow_dpo_loss(*errors, beta=10.0))
  assert float(loss(e, 2 * e, e, 2 * e)) == pytest.approx(2 * np.log(2))
  slopes = jax.grad(loss, (0, 1, 2, 3))(e, 2 * e, e, 2 * e)
  # d softplus(-z) at 0 is -1/2, dz/dw is -beta/2.
  np.testing.assert_allclose(slopes[0], 2.5, rtol=1e-6)
  np.testing.assert_allclose(slopes[1], -2.5, rtol=1e-6)
  np.testing.assert_array_equal(jnp.stack(slopes[2:]), 0.0)


def test_flow_dpo_number_of_the_general_head():
  """Errors .8 and 1.1 against 1 and 1, beta 10: z = 1.5, loss .201413."""
  one = lambda x: jnp.array([x])
  loss = objectives.flow_dpo_loss(
      one(0.8), one(1.1), one(1.0), one(1.0), beta=10.0
  )
  np.testing.assert_allclose(loss, [0.201413], rtol=1e-5)


def test_flow_rwr_weights():
  errors, rewards = jnp.array([1.0, 2.0, 4.0]), jnp.array([0.0, 1.0, -1.0])
  weights = np.exp(np.array([0.0, 2.0, -2.0]))
  expected = 3 * weights / weights.sum() * np.asarray(errors)
  loss = lambda e, r: objectives.flow_rwr_loss(e, r, temperature=0.5)
  np.testing.assert_allclose(loss(errors, rewards), expected, rtol=1e-5)
  np.testing.assert_allclose(loss(errors, rewards + 7), expected, rtol=1e-5)
  np.testing.assert_allclose(loss(errors, 0 * rewards), errors, rtol=1e-6)
  held = jax.grad(lambda r: jnp.sum(loss(errors, r)))(rewards)
  np.testing.assert_array_equal(held, 0.0)
  extreme = loss(errors, jnp.array([1e4, 0.0, 0.0]))
  np.testing.assert_allclose(extreme, [3.0, 0.0, 0.0], atol=1e-6)


def test_errors_name_arguments(no_jaxtyping):
  e = jnp.ones(2)
  with pytest.raises(ValueError, match=r"'loser': \(3,\)"):
    objectives.flow_dpo_loss(e, jnp.ones(3), e, e, beta=1.0)
  with pytest.raises(ValueError, match="beta must broadcast to"):
    objectives.flow_dpo_loss(e, e, e, e, beta=jnp.ones(3))
  with pytest.raises(ValueError, match="temperature must be in"):
    objectives.flow_rwr_loss(e, e, temperature=0.0)
  with pytest.raises(ValueError, match=r"'target': \(2,\)"):
    objectives.denoise_error(A, e)
