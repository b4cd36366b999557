"""Exact laws of a finite policy tilted by its rewards."""

import jax
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def exponential_tilt(
    logits: Float[Array, "*batch V"],
    rewards: Float[Array, "*batch V"],
    *,
    temperature: Scalar,
) -> Float[Array, "*batch V"]:
  """log of p exp(r / temperature) / Z: where KL-regularised ascent ends.

      argmax_q  E_q[r] - temperature * KL(q || p)

  Args:
    logits: of p, normalised or not; -inf entries stay -inf.
    rewards: one per entry of the last axis, in reward units.
    temperature: the coefficient of the KL term, in reward units a nat.

  Returns:
    Log-probabilities, float32 or wider.

  Gradient: flows through `logits` and `rewards`.

  Raises:
    ValueError: if shapes differ, or `temperature` is not positive.
  """
  checks.same_shape("exponential_tilt", logits=logits, rewards=rewards)
  checks.within(
      "exponential_tilt", 0.0, low_open=True, temperature=temperature
  )
  rewards = masking.as_accumulator(rewards)
  tilted = masking.as_accumulator(logits) + rewards / temperature
  return jax.nn.log_softmax(tilted, axis=-1)
