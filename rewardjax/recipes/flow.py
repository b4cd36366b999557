"""Policy gradients with token rewards from a flow over hidden states."""

from typing import Unpack

from jaxtyping import Array, Float

from rewardjax.advantages import group, placement, temporal
from rewardjax.core import reduction
from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit, credit_of, credited_tokens
from rewardjax.recipes.losses import Anchor, clipped, policy_loss
from rewardjax.rewards import flow
from rewardjax.types import Reward, Rollouts, Scalar


def flow_credit(
    rollouts: Rollouts,
    reward: Reward,
    scores: Float[Array, "B G T"],
    *,
    discount: Scalar = 1.0,
    coefficient: Scalar = 0.01,
    threshold: Scalar = 0.6,
    bilateral: bool = False,
) -> Credit:
  """Returns of the flow's token rewards, the centred outcome at the end.

  Args:
    rollouts: whole groups.
    reward: the outcome; invalid samples are left out.
    scores: of `rewards.flow.flow_score`, per token.
    discount: per token.
    coefficient: see `rewards.flow.flow_reward`, as the rest.
  """
  mask = credited_tokens(rollouts, reward)
  outcome = group.centered(reward.value, reward.valid)
  tokens = flow.flow_reward(
      scores, mask,
      coefficient=coefficient, threshold=threshold, bilateral=bilateral,
  )
  rewards = placement.place_last(outcome, mask) + tokens
  return Credit(temporal.reward_to_go(rewards, mask, discount=discount), mask)


def rlfr(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    reward: Reward | Credit,
    scores: Float[Array, "B G T"],
    *,
    discount: Scalar = 1.0,
    coefficient: Scalar = 0.01,
    threshold: Scalar = 0.6,
    bilateral: bool = False,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> tuple[Mean, dict[str, Mean]]:
  """GRPO without the std, plus small token rewards from a flow.

  Credit: `flow_credit`.

  References:
    "RLFR: Extending Reinforcement Learning for LLMs with Flow Environment".
  """
  shaped = dict(
      coefficient=coefficient, threshold=threshold, bilateral=bilateral
  )
  credit = credit_of(
      rollouts, reward, flow_credit, scores, discount=discount, **shaped
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )
