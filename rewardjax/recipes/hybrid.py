"""Checkable rules where there are any, a learned score where there are none.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.shaping import combination, length
from rewardjax.types import Reward, Scalar


def harmo_reward(
    rule: Reward,
    model: Reward,
    verifiable: Bool[Array, "*batch G"],
    lengths: Int[Array, "*batch G"],
    form: Float[Array, "*batch G"] | None = None,
    *,
    form_weight: Scalar = 0.1,
    max_penalty: Scalar = 0.5,
    tolerance: Scalar = 1.0,
) -> Reward:
  """The rule's or the model's reward, less for giving up early, plus form.

  To be used with advantages that are only centred, such as `dr_grpo`: divided
  by their spread, the terms would lose their scale. Log each of them.

  Args:
    rule: 1 for right answers, 0 for wrong ones, where a task can be checked.
    model: a learned score in [0, 1].
    verifiable: see `shaping.combination.gated`.
    lengths: tokens of each sample.
    form: 1 where the form asked for is kept; None pays nothing for it.
    form_weight: reward units of `form`.
    max_penalty: see `shaping.length.group_length_penalty`; wrong answers of
      open tasks are not known, and not charged.
    tolerance: see there.

  Returns:
    A reward per sample, valid where the reading that counts is.

  Gradient: flows through the two values and `form`.

  Raises:
    ValueError: if shapes differ or `tolerance` is not positive.

  References:
    "Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward
      Optimization" (HARMO).
  """
  checks.same_shape(
      "harmo_reward", rule=rule.value, lengths=lengths, form=form
  )
  known = verifiable & rule.valid
  right = known & (masking.fill_masked(rule.value, known) > 0.5)
  hybrid = combination.gated(rule, model, verifiable)
  value = masking.fill_masked(hybrid.value, hybrid.valid)
  value = value + length.group_length_penalty(
      lengths, right, known, max_penalty=max_penalty, tolerance=tolerance
  )
  if form is not None:
    value = value + form_weight * masking.fill_masked(form, hybrid.valid)
  return Reward(jnp.where(hybrid.valid, value, 0.0), hybrid.valid)
