import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.objectives import outcome
from rewardjax.objectives import policy_gradient as pg
from tests import variants

LOG_PROBS = jnp.array([[-1.0, -2.0, -0.5], [-0.3, -50.0, -3.0]])
WEIGHTS = jnp.array([[2.0], [-0.5]])


@variants.every
def test_clone_and_push_by_hand(variant):
  actual = variant(outcome.clone_and_push)(LOG_PROBS, WEIGHTS)
  np.testing.assert_allclose(actual, [[2.0, 4.0, 1.0], [0.5] * 3], rtol=1e-6)


def test_the_gradient_is_the_score():
  total = lambda f: jax.grad(lambda x, w: jnp.sum(f(x, w)), argnums=(0, 1))
  slope, held = total(outcome.clone_and_push)(LOG_PROBS, WEIGHTS)
  score, _ = total(pg.score_surrogate)(LOG_PROBS, WEIGHTS)
  np.testing.assert_allclose(slope, score, rtol=1e-6)
  np.testing.assert_array_equal(held, 0)


def test_no_weight_and_narrow_inputs():
  none = outcome.clone_and_push(LOG_PROBS, jnp.zeros((2, 1)))
  np.testing.assert_array_equal(none, 0)
  narrow = outcome.clone_and_push(
      LOG_PROBS.astype(jnp.bfloat16), WEIGHTS.astype(jnp.bfloat16)
  )
  assert narrow.dtype == jnp.float32


def test_errors(no_jaxtyping):
  with pytest.raises(ValueError, match="clone_and_push: weights must"):
    outcome.clone_and_push(LOG_PROBS, jnp.ones(2))
