"""Policy gradients for recommenders that spell the items they recommend."""

from typing import Unpack

from jaxtyping import Array, Bool, Float

from rewardjax.core.masking import Mean
from rewardjax.recipes.losses import Anchor
from rewardjax.recipes.policy_gradient import grpo
from rewardjax.shaping import ranks
from rewardjax.types import Reward, Rollouts, Scalar


def rere(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    hits: Bool[Array, "B G"],
    valid: Bool[Array, "B G"],
    *,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> tuple[Mean, dict[str, Mean]]:
  """GRPO on the beams of a constrained search, misses ranked.

  Args:
    log_probs: of the beams' tokens under the trained policy.
    rollouts: the beams, likeliest first, as from `search.beam`. They were not
      drawn: their `log_probs` should be those of the policy that searched, so
      that the ratio is 1 at the first step and measures later ones from it.
    hits: which beam is the target.
    valid: False for beams that are no item.
    clip_low: see `grpo`, as the rest. The paper's KL is estimator "k3" with
      a coefficient of 0.001.

  References:
    "Reinforced Preference Optimization for Recommendation" (ReRe).
  """
  clips = dict(clip_low=clip_low, clip_high=clip_high)
  return grpo(log_probs, rollouts, rank_reward(hits, valid), **clips, **anchor)


def rank_reward(
    hits: Bool[Array, "*batch G"], valid: Bool[Array, "*batch G"]
) -> Reward:
  """1 for the target; less than 0 for beams beside it, likely ones most.

  Args:
    hits: which beam is the target; beams are ordered, likeliest first.
    valid: False for beams that are no item.
  """
  penalty = ranks.dcg_penalty(hits, valid)
  return Reward(hits.astype(penalty.dtype) + penalty, valid)
