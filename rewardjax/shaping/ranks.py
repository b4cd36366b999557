"""Rewards that depend on a sample's place in its group."""

from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, statistics
from rewardjax.types import Scalar


def unlikeliness(
    rewards: Float[Array, "*batch G"],
    log_probs: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    coefficient: Scalar = 0.25,
) -> Float[Array, "*batch G"]:
  """r (1 - coefficient rank / n): among right answers the rare ones pay more.

  The rank is that of the sample's likelihood among the n valid samples of its
  group, right and wrong, 0 for the least likely. A reward of 0 stays 0; one
  below 0 would be paid back for being likely, so rewards are at least 0.

  Args:
    rewards: one scalar per sample, not negative, in reward units.
    log_probs: of each sample under the policy that drew it, per token: the
      mean, not the sum, which would rank by length.
    mask: True for valid samples; None means all are valid.
    coefficient: in [0, 1]; 0 changes nothing.

  Returns:
    Rewards in reward units, float32 or wider; 0 for invalid samples.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if shapes differ, or `coefficient` is not in [0, 1].

  References:
    He et al., "Rewarding the Unlikely: Lifting GRPO Beyond Distribution
      Sharpening". As in its released code, the least likely sample keeps its
      whole reward. Differs from it: equally likely samples, such as two
      copies of one answer, share the mean of their ranks.
  """
  where = "unlikeliness"
  checks.same_shape(where, rewards=rewards, log_probs=log_probs, mask=mask)
  checks.probability(where, coefficient=coefficient)
  rank = statistics.ranks(log_probs, mask, average=True)
  count = masking.count(log_probs, mask, -1, keepdims=True)
  share = masking.safe_divide(rank, count)
  return masking.fill_masked(rewards, mask) * (1 - coefficient * share)
