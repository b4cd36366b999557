import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.recipes import hybrid
from rewardjax.types import Reward
from tests import variants

NAN = jnp.nan
RULE = jnp.array([[1.0, 1.0, 0.0, 0.0], [NAN] * 4])
MODEL = jnp.array([[NAN] * 4, [0.2, 0.9, NAN, 0.4]])
VERIFIABLE = jnp.array([[True] * 4, [False] * 4])
LENGTHS = jnp.array([[100, 200, 50, 150]] * 2)
FORM = jnp.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, NAN, 0.0]])
KNOWN = jnp.array([[True] * 4, [True, True, False, True]])


def reward(rule, model, verifiable, lengths, form, known):
  return hybrid.harmo_reward(
      Reward(rule, known), Reward(model, known), verifiable, lengths, form
  )


@variants.every
def test_harmo_by_hand(variant):
  found = variant(reward)(RULE, MODEL, VERIFIABLE, LENGTHS, FORM, KNOWN)
  # The right answers have 150 tokens on average: 50 is two thirds short.
  expected = [[1.1, 1, 0.1 - 1 / 3, 0], [0.3, 1, 0, 0.4]]
  np.testing.assert_allclose(found.value, expected, rtol=1e-6)
  np.testing.assert_array_equal(found.valid, KNOWN)


def test_without_form_and_penalty_it_is_the_gate():
  found = hybrid.harmo_reward(
      Reward(RULE, KNOWN), Reward(MODEL, KNOWN), VERIFIABLE, LENGTHS,
      max_penalty=0.0,
  )
  np.testing.assert_allclose(
      found.value, [[1, 1, 0, 0], [0.2, 0.9, 0, 0.4]], rtol=1e-6
  )


def test_open_answers_are_not_charged_for_their_length():
  both = Reward(jnp.array([[1.0, 0.5]]), jnp.ones((1, 2), bool))
  found = hybrid.harmo_reward(
      both, both, jnp.array([[True, False]]), jnp.array([[100, 10]])
  )
  np.testing.assert_allclose(found.value, [[1.0, 0.5]])


def test_advantages_are_centred_and_keep_their_scale():
  found = reward(RULE, MODEL, VERIFIABLE, LENGTHS, FORM, KNOWN)
  once = group.centered(*found)
  np.testing.assert_allclose(jnp.sum(once, -1), 0, atol=1e-6)
  twice = group.centered(2 * found.value, found.valid)
  np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
  equal = group.centered(jnp.full((1, 4), 0.7))
  np.testing.assert_array_equal(equal, 0.0)


def test_gradient_goes_to_the_reading_that_counts():
  total = lambda rule, model, form: jnp.sum(
      reward(rule, model, VERIFIABLE, LENGTHS, form, KNOWN).value
  )
  rule, model, form = jax.grad(total, (0, 1, 2))(RULE, MODEL, FORM)
  np.testing.assert_array_equal(rule, VERIFIABLE & KNOWN)
  np.testing.assert_array_equal(model, ~VERIFIABLE & KNOWN)
  np.testing.assert_allclose(form, 0.1 * KNOWN, rtol=1e-6)


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"harmo_reward: .*'lengths': \(4,\)"):
    reward(RULE, MODEL, VERIFIABLE, LENGTHS[0], FORM, KNOWN)
