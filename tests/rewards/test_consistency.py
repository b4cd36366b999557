import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards.consistency import consistency_reward
from tests import variants

# (accuracy, agreement, format) and what it pays.
TABLE = [
    (0, 1, 0, 0.0),
    (0, -1, 0, 0.0),
    (0, 0, 1, 0.5),
    (1, -1, 0, 0.5),
    (1, -1, 1, 1.0),
    (1, 0, 1, 1.5),
    (1, 1, 0, 1.5),
    (1, 1, 1, 2.0),
]


@variants.every
def test_the_table(variant):
  accuracies, agreements, formats, expected = jnp.array(TABLE, float).T
  actual = variant(consistency_reward)(formats, accuracies, agreements)
  np.testing.assert_allclose(actual, expected)


def test_weights_widening_and_gradient():
  half = jnp.array([1.0, 0.0], jnp.bfloat16)
  paid = consistency_reward(
      half, half, half, format_weight=0.1, agreement_weight=2.0
  )
  assert paid.dtype == jnp.float32
  np.testing.assert_allclose(paid, [3.1, 0.0], rtol=1e-6)
  total = lambda *x: jnp.sum(consistency_reward(*x))
  one = jnp.ones(1)
  slopes = jax.grad(total, argnums=(0, 1, 2))(one, 3 * one, -one)
  np.testing.assert_allclose(jnp.concatenate(slopes), [0.5, 0.5, 1.5])


def test_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'agreements': \(3,\)"):
    consistency_reward(jnp.ones(2), jnp.ones(2), jnp.ones(3))
