import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards.binary_token import binary_token_reward
from tests import variants

NO = jnp.array([[0.0, 2.0, jnp.nan], [-3.0, 500.0, -500.0]])
YES = jnp.array([[0.0, 1.0, jnp.nan], [-3.0, -500.0, 500.0]])
MASK = jnp.array([[True, True, False], [True, True, True]])


@variants.every
def test_by_hand(variant):
  actual = variant(binary_token_reward)(NO, YES, MASK)
  middle = np.exp(2) / (np.exp(2) + np.exp(1))
  expected = [[0.5, middle, 0.0], [0.5, 1.0, 0.0]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_the_two_answers_share_one_and_no_constant_matters():
  no, yes = NO[MASK], YES[MASK]
  total = binary_token_reward(no, yes) + binary_token_reward(yes, no)
  np.testing.assert_allclose(total, 1.0, rtol=1e-6)
  np.testing.assert_allclose(
      binary_token_reward(no + 7, yes + 7), binary_token_reward(no, yes),
      rtol=1e-5,
  )


def test_gradient_in_closed_form():
  total = lambda no, yes: jnp.sum(binary_token_reward(no, yes, MASK))
  to_no, to_yes = jax.grad(total, (0, 1))(NO, YES)
  p = np.asarray(binary_token_reward(NO, YES, MASK))
  expected = np.where(MASK, p * (1 - p), 0)
  np.testing.assert_allclose(to_no, expected, rtol=1e-5)
  np.testing.assert_allclose(to_yes, -expected, rtol=1e-5)


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'other': \(3,\)"):
    binary_token_reward(NO, YES[0])
