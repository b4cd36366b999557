import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core.masking import Mean
from rewardjax.reward_models import process
from tests import variants

process = variants.programs(process)

NAN = jnp.nan
LABELS = jnp.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
LABELS = LABELS.astype(bool)
MASK = jnp.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
MASK = MASK.astype(bool)


@variants.every
def test_first_error_by_hand(variant):
  first = variant(process.first_error)
  np.testing.assert_array_equal(first(LABELS), [2, 0, 3, 4])
  np.testing.assert_array_equal(first(LABELS, MASK), [2, 4, 4, 4])
  kept = variant(process.mask_after_first_error)
  everything = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
  np.testing.assert_array_equal(kept(LABELS), everything)
  real = [[1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]]
  np.testing.assert_array_equal(kept(LABELS, MASK), real)


def test_without_steps():
  empty = jnp.zeros((2, 0), bool)
  np.testing.assert_array_equal(process.first_error(empty), [0, 0])
  assert process.mask_after_first_error(empty).shape == (2, 0)


LOGITS = jnp.array([[0.0, 2.0, NAN], [-1.0, NAN, NAN]])
TARGETS = jnp.array([[1.0, 0.25, NAN], [0.0, NAN, NAN]])
REAL = jnp.array([[True, True, False], [True, False, False]])


@variants.every
def test_prm_loss_by_hand(variant):
  losses = variant(process.prm_loss)(LOGITS, TARGETS, REAL)
  # log 2; log(1 + e^2) - .25 * 2; log(1 + e^-1).
  expected = [[0.693147, 2.126928 - 0.5, 0], [0.313262, 0, 0]]
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_prm_gradient_in_closed_form_and_held_targets():
  mean = lambda z, t: Mean.of(process.prm_loss(z, t, REAL), REAL).value
  to_logits, to_targets = variants.grad(mean, (0, 1))(LOGITS, TARGETS)
  sigmoid = lambda z: 1 / (1 + np.exp(-z))
  expected = np.array([[-0.5, sigmoid(2) - 0.25, 0], [sigmoid(-1), 0, 0]]) / 3
  np.testing.assert_allclose(to_logits, expected, rtol=1e-5)
  np.testing.assert_array_equal(to_targets, 0)


def test_prm_loss_is_least_where_it_is_calibrated():
  """Its minimum over z lies at sigmoid(z) = t, with the entropy of t."""
  t = np.array([0.1, 0.5, 0.9])
  z = jnp.array(np.log(t / (1 - t)))
  losses = process.prm_loss(z, jnp.array(t))
  entropy = -t * np.log(t) - (1 - t) * np.log1p(-t)
  np.testing.assert_allclose(losses, entropy, rtol=1e-5)
  for shift in (-0.01, 0.01):
    assert np.all(process.prm_loss(z + shift, jnp.array(t)) > losses)


def test_prm_loss_is_finite_far_out_and_wide():
  z = jnp.array([-1e4, 1e4], jnp.bfloat16)
  losses = process.prm_loss(z, jnp.array([1.0, 1.0], jnp.bfloat16))
  assert losses.dtype == jnp.float32
  np.testing.assert_allclose(losses, [1e4, 0], rtol=1e-2)


@variants.every
def test_orm_reads_the_last_step(variant):
  correct = jnp.array([True, False])
  losses = variant(process.orm_loss)(LOGITS, correct, REAL)
  # log(1 + e^-2) for a logit of 2; log(1 + e^-1) for a logit of -1.
  np.testing.assert_allclose(losses, [0.126928, 0.313262], rtol=1e-5)


def test_orm_gradient_reaches_one_logit_a_chain():
  total = lambda z, m: jnp.sum(
      process.orm_loss(z, jnp.array([True, False]), m)
  )
  slope = variants.grad(total)(LOGITS, REAL)
  expected = [[0, -1 / (1 + np.exp(2)), 0], [1 / (1 + np.exp(1)), 0, 0]]
  np.testing.assert_allclose(slope, expected, rtol=1e-5)
  none = jnp.zeros(REAL.shape, bool)
  assert total(LOGITS, none) == 0
  np.testing.assert_array_equal(variants.grad(total)(LOGITS, none), 0)


def test_labels_after_the_first_error_teach_nothing():
  """A chain that recovers by its labels is still learned up to the error."""
  labels = jnp.array([[True, False, True, True]])
  mask = process.mask_after_first_error(labels)
  z = jnp.array([[0.3, -0.2, 1.0, 2.0]])
  total = lambda z: jnp.sum(process.prm_loss(z, labels.astype(float), mask))
  slope = variants.grad(total)(z)
  assert np.all(slope[:, :2] != 0) and not np.any(slope[:, 2:])


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'targets': \(3,\)"):
    process.prm_loss(jnp.ones(4), jnp.ones(3))
  with pytest.raises(ValueError, match=r"'correct': \(3,\)"):
    process.orm_loss(jnp.ones((2, 4)), jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"first_error: .*'mask': \(2,\)"):
    process.mask_after_first_error(jnp.ones(3, bool), jnp.ones(2, bool))
