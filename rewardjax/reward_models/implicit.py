"""Preferences learned by the policy itself: its log-ratio is the reward."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def implicit_reward(
    log_probs: Float[Array, "*batch T"],
    reference_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Float[Array, "*batch"]:
  """log pi(y) - log pi0(y): a reward up to its scale and what a prompt adds.

  The difference of two answers of a prompt goes into
  `pairwise.pairwise_logistic`, with `beta` the strength of the KL penalty
  whose optimum it describes: that is DPO.

  Args:
    log_probs: of the tokens of an answer.
    reference_log_probs: of the policy it started from.
    mask: True for real tokens; None means all.

  Returns:
    Nats, float32 or wider.

  Gradient: flows through `log_probs`; the reference is held.

  Raises:
    ValueError: if shapes differ.

  References:
    Rafailov et al., "Direct Preference Optimization", 2023, arXiv:2305.18290.
  """
  checks.same_shape(
      "implicit_reward",
      log_probs=log_probs,
      reference_log_probs=reference_log_probs,
      mask=mask,
  )
  before = jax.lax.stop_gradient(reference_log_probs)
  total = lambda x: masking.masked_sum(x, mask, -1)
  return total(log_probs) - total(before)


def dynamic_beta(
    margins: Float[Array, "*batch"],
    *,
    base: Scalar = 0.1,
    weight: Scalar = 0.5,
    rate: Scalar = 0.5,
) -> Float[Array, "*batch"]:
  """beta0 (1 + w (1 - exp(-k d))): pairs that a reward model is sure of.

  Rises from beta0 at d = 0 to beta0 (1 + w). Where the reward model disagrees
  with the label, d < 0, it is beta0: the exponential would explode.

  Args:
    margins: d, reward of the chosen answer less that of the rejected one.
    base: beta0, positive.
    weight: w, at least 0; 0 is the plain loss.
    rate: k, per reward unit, at least 0.

  Returns:
    For `pairwise.pairwise_logistic(beta=...)`; float32 or wider.

  Gradient: none, `margins` are held.

  Raises:
    ValueError: if a Python number is out of range.

  References:
    "MM-RLHF: The Next Step Forward in Multimodal LLM Alignment" (the values
      of w and k are not checked against released code).
  """
  where = "dynamic_beta"
  checks.within(where, 0.0, low_open=True, base=base)
  checks.at_least(where, 0.0, weight=weight, rate=rate)
  sure = jnp.maximum(masking.as_accumulator(margins), 0.0)
  sure = jax.lax.stop_gradient(sure)
  return base * (1 - weight * jnp.expm1(-rate * sure))
