import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core.masking import Mean
from rewardjax.recipes import critique

NAN = jnp.nan
CHOSEN = jnp.array([1.0, 0.5, -1.0])
REJECTED = jnp.array([0.1, 0.2, 1.0])
LOG_PROBS = jnp.array([
    [[-1.0, -3.0], [-2.0, NAN]],
    [[NAN, NAN], [-0.5, -0.5]],
    [[NAN, NAN], [NAN, NAN]],
])
MASK = ~jnp.isnan(LOG_PROBS)
TIED = jnp.array([False, True, False])
WEIGHTS = dict(language_weight=0.5, tie_weight=2.0, centre_weight=0.1)


def test_every_part_by_hand():
  loss, metrics = critique.critique_loss(
      CHOSEN, REJECTED, LOG_PROBS, MASK, TIED, **WEIGHTS
  )
  # BT of 0.9 and -2; a tie of 0.3; critiques of mean nats 2, 2 and 0.5.
  preference = np.array([0.341154, 0, 2.126928])
  ties, centre = np.array([0, 0.09, 0]), np.array([1.21, 0.49, 0])
  said = np.array([4, 0.5, 0])
  expected = preference + 2 * ties + 0.1 * centre + 0.5 * said
  np.testing.assert_allclose(loss.value, expected.mean(), rtol=1e-5)
  found = {name: float(mean.value) for name, mean in metrics.items()}
  assert found == pytest.approx({
      "preference": (0.341154 + 2.126928) / 2, "ties": 0.09, "critique": 1.5,
  }, rel=1e-5)


def test_halves_of_a_batch_add_up():
  whole, _ = critique.critique_loss(
      CHOSEN, REJECTED, LOG_PROBS, MASK, TIED, **WEIGHTS
  )
  parts = [
      critique.critique_loss(
          CHOSEN[i], REJECTED[i], LOG_PROBS[i], MASK[i], TIED[i], **WEIGHTS
      )[0]
      for i in (slice(0, 1), slice(1, 3))
  ]
  np.testing.assert_allclose(parts[0].merge(parts[1]), whole, rtol=1e-6)


def test_gradients_of_ties_and_of_missing_critiques():
  def value(chosen, log_probs):
    found, _ = critique.critique_loss(
        chosen, REJECTED, log_probs, MASK, TIED, **WEIGHTS
    )
    assert isinstance(found, Mean)
    return found.value

  to_chosen, to_log_probs = jax.grad(value, (0, 1))(CHOSEN, LOG_PROBS)
  # A tie: 2 * 2 * 0.3, and 2 * 0.1 * 0.7 of the centre; nothing of BT.
  np.testing.assert_allclose(to_chosen[1], (1.2 + 0.14) / 3, rtol=1e-5)
  expected = np.zeros(LOG_PROBS.shape)
  expected[0] = [[-0.25, -0.25], [-0.5, 0]]
  expected[1, 1] = -0.25
  np.testing.assert_allclose(to_log_probs, expected / 3, rtol=1e-5)


def test_without_critiques_and_ties_it_is_bradley_terry():
  none = jnp.zeros((3, 2, 1))
  loss, _ = critique.critique_loss(CHOSEN, REJECTED, none, none > 0)
  expected = np.mean(np.log1p(np.exp(-(CHOSEN - REJECTED))))
  np.testing.assert_allclose(loss.value, expected, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"tie_weight must be in \[0"):
    critique.critique_loss(CHOSEN, REJECTED, LOG_PROBS, MASK, tie_weight=-1)
  with pytest.raises(ValueError, match=r"'rejected': \(2,\)"):
    critique.critique_loss(CHOSEN, REJECTED[1:], LOG_PROBS, MASK)
  with pytest.raises(ValueError, match=r"'mask': \(2, 2, 2\)"):
    critique.critique_loss(CHOSEN, REJECTED, LOG_PROBS, MASK[1:])
