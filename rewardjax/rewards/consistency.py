"""Whether the reasoning of a judge and its verdict say the same."""

from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def consistency_reward(
    formats: Float[Array, "*batch"],
    accuracies: Float[Array, "*batch"],
    agreements: Float[Array, "*batch"],
    *,
    format_weight: Scalar = 0.5,
    agreement_weight: Scalar = 0.5,
) -> Float[Array, "*batch"]:
  """format_weight f + a (1 + agreement_weight c).

  Agreement pays only where the verdict is right: a consistent wrong judgement
  earns nothing by it.

  Args:
    formats: f, 1 where the answer can be parsed, else 0.
    accuracies: a, 1 where the verdict is right, else 0.
    agreements: c, 1 where reasoning and verdict agree, -1 where they do not,
      0 where nobody knows.
    format_weight: in reward units.
    agreement_weight: share of the accuracy that is at stake.

  Returns:
    Rewards, float32 or wider.

  Gradient: flows through all three.

  Raises:
    ValueError: if shapes differ.

  References:
    "R1-Reward: Training Multimodal Reward Model Through Stable
      Reinforcement Learning".
  """
  checks.same_shape(
      "consistency_reward",
      formats=formats,
      accuracies=accuracies,
      agreements=agreements,
  )
  accuracies = masking.as_accumulator(accuracies)
  bonus = agreement_weight * masking.as_accumulator(agreements)
  paid = format_weight * masking.as_accumulator(formats)
  return paid + accuracies * (1 + bonus)
