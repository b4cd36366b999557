import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.shaping import combination
from rewardjax.types import Reward
from tests import variants

NAN = jnp.nan
VERIFIABLE = jnp.array([True, True, False, False])
RULE = Reward(jnp.array([1.0, NAN, NAN, 0.0]), jnp.array([1, 0, 0, 1], bool))
MODEL = Reward(jnp.array([0.3, 0.4, 0.5, NAN]), jnp.array([1, 1, 1, 0], bool))


@variants.every
def test_gated_by_hand(variant):
  gate = lambda *x: tuple(
      combination.gated(Reward(x[0], x[1]), Reward(x[2], x[3]), x[4])
  )
  value, valid = variant(gate)(*RULE, *MODEL, VERIFIABLE)
  # What the rule cannot tell is unknown: the model is not asked.
  np.testing.assert_array_equal(valid, [True, False, True, False])
  np.testing.assert_allclose(np.asarray(value)[valid], [1, 0.5])
  assert np.all(np.isfinite(value))


def test_gated_gradient_reaches_only_what_counts():
  total = lambda a, b: jnp.sum(
      combination.gated(
          RULE._replace(value=a), MODEL._replace(value=b), VERIFIABLE
      ).value
  )
  to_rule, to_model = jax.grad(total, (0, 1))(RULE.value, MODEL.value)
  np.testing.assert_array_equal(to_rule, [1, 0, 0, 0])
  np.testing.assert_array_equal(to_model, [0, 0, 1, 0])


LOSSES = jnp.array([2.0, 2.0, NAN, NAN])
DOUBT = jnp.array([0.0, 1.0, NAN, 0.0])
MASK = jnp.array([True, True, False, False])


@variants.every
def test_uncertainty_by_hand(variant):
  weighted = variant(combination.uncertainty_weighted)(LOSSES, DOUBT, MASK)
  np.testing.assert_allclose(weighted, [2, 2 * np.exp(-1), 0, 0], rtol=1e-6)


def test_uncertainty_gradients_in_closed_form():
  total = lambda x, u: jnp.sum(
      combination.uncertainty_weighted(x, u, MASK, coefficient=0.5)
  )
  value, (to_loss, to_doubt) = jax.value_and_grad(total, (0, 1))(LOSSES, DOUBT)
  assert value == pytest.approx(2 + 2 * np.exp(-1) + 0.5)
  np.testing.assert_allclose(to_loss, [1, np.exp(-1), 0, 0], rtol=1e-6)
  expected = [0.5 - 2, 0.5 - 2 * np.exp(-1), 0, 0]
  np.testing.assert_allclose(to_doubt, expected, rtol=1e-6)


def test_no_doubt_leaves_the_loss_as_it_is():
  losses = jnp.arange(4.0)
  same = combination.uncertainty_weighted(losses, jnp.zeros(4))
  np.testing.assert_array_equal(same, losses)


BANK = jnp.array([[2.0, 4.0, NAN], [9.0, 9.0, NAN]])
NEAR = jnp.array([[0.95, 0.9, NAN], [0.9, 0.2, NAN]])
REAL = jnp.array([[True, True, False]] * 2)


@variants.every
def test_fusion_by_hand(variant):
  fused = variant(
      lambda own, *x: combination.reward_fusion(own, *x, threshold=0.8)
  )(jnp.array([1.0, 3.0]), BANK, NEAR, REAL)
  expected = [(1 + 0.95 * 2 + 0.9 * 4) / 2.85, (3 + 0.9 * 9) / 1.9]
  np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_fusion_of_the_table_and_with_nothing_near():
  """Weights (.95, .9) and the own 1 on (2, 1) and 4."""
  fused = combination.reward_fusion(
      jnp.array(4.0), jnp.array([1.0, 2.0]), jnp.array([0.9, 0.95]),
      threshold=0.8,
  )
  assert fused == pytest.approx(2.385965, abs=1e-6)
  alone = combination.reward_fusion(jnp.array([1.0, 3.0]), BANK, NEAR * 0.9,
                                    REAL)
  np.testing.assert_array_equal(alone, [1, 3])
  exactly = combination.reward_fusion(
      jnp.array(1.0), jnp.array([5.0]), jnp.array([0.9])
  )
  assert exactly == 1  # the threshold itself is not near


def test_fusion_gradients_are_finite_under_masks():
  total = lambda own, bank: jnp.sum(
      combination.reward_fusion(own, bank, NEAR, REAL, threshold=0.8)
  )
  to_own, to_bank = jax.grad(total, (0, 1))(jnp.array([1.0, 3.0]), BANK)
  np.testing.assert_allclose(to_own, [1 / 2.85, 1 / 1.9], rtol=1e-6)
  expected = [[0.95 / 2.85, 0.9 / 2.85, 0], [0.9 / 1.9, 0, 0]]
  np.testing.assert_allclose(to_bank, expected, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"gated: .*'verifiable': \(3,\)"):
    combination.gated(RULE, MODEL, VERIFIABLE[:3])
  with pytest.raises(ValueError, match=r"'uncertainties': \(3,\)"):
    combination.uncertainty_weighted(LOSSES, DOUBT[:3])
  with pytest.raises(ValueError, match=r"reward_fusion: .*'own': \(3,\)"):
    combination.reward_fusion(jnp.ones(3), BANK, NEAR)
