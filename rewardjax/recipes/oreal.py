"""OREAL: outcome rewards, token by token; arguments as the other recipes."""

from typing import Unpack

from jaxtyping import Array, Bool, Float

from rewardjax.core import reduction
from rewardjax.core.masking import Mean
from rewardjax.objectives import outcome
from rewardjax.recipes.credit import Credit, credit_of
from rewardjax.recipes.exploration_credit import oreal_credit
from rewardjax.recipes.losses import Anchor, policy_loss
from rewardjax.types import Reward, Rollouts, Scalar

__all__ = ["oreal"]


def oreal(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    token_rewards: Float[Array, "B G T"] | None = None,
    kept: Bool[Array, "B G"] | None = None,
    negative_coefficient: Scalar = 0.5,
    **anchor: Unpack[Anchor],
) -> tuple[Mean, dict[str, Mean]]:
  """Clones right samples, pushes wrong ones away, weighed token by token.

  Credit: `oreal_credit`, on the whole batch. `token_rewards` are logits of a
  reward model and are held: it is trained by its own
  `reward_models.outcome.outcome_loss`. For samples of the present policy
  only: there is no ratio. The paper anchors with kl_estimator="k3" and
  kl_coefficient=0.01, keeps one sample of each kind
  (`advantages.outcome.one_of_each`) and leaves the policy alone during the
  first ten steps of the reward model.

  References:
    Lyu et al., "Exploring the Limit of Outcome Reward for Learning
      Mathematical Reasoning".
  """
  credit = credit_of(
      rollouts, reward, oreal_credit, token_rewards=token_rewards, kept=kept,
      negative_coefficient=negative_coefficient,
  )

  def surrogate(log_probs, behavior_log_probs, advantages, mask):
    del behavior_log_probs, mask
    return outcome.clone_and_push(log_probs, advantages), {}

  reduce = reduction.token_mean
  return policy_loss(log_probs, rollouts, credit, surrogate, reduce, **anchor)
