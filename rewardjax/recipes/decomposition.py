"""One outcome shared out over steps by a model that learned to sum to it."""

from typing import Unpack

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import masking
from rewardjax.core.masking import Mean
from rewardjax.recipes import actor_critic
from rewardjax.recipes.credit import Credit, credit_of
from rewardjax.recipes.process import Critic, step_credit
from rewardjax.reward_models import decomposition
from rewardjax.types import Reward, Rollouts, Scalar

Tokens = Float[Array, "B G T"]


def lare_credit(
    rollouts: Rollouts,
    reward: Reward,
    values: Tokens,
    *,
    step_rewards: Float[Array, "B G K"],
    step_ids: Int[Array, "B G T"],
    step_mask: Bool[Array, "B G K"] | None = None,
    **options,
) -> Credit:
  """Advantages of step rewards that sum to the outcome: `lare`'s credit.

  The outcome itself is paid nowhere else. `**options` are those of
  `recipes.process.step_credit`.
  """
  known = jnp.broadcast_to(reward.valid[..., None], step_rewards.shape)
  known = known if step_mask is None else known & step_mask
  outcome = masking.fill_masked(*reward)
  shared = decomposition.match_returns(step_rewards, outcome, known)
  paid = Reward(jnp.zeros_like(outcome), reward.valid)
  return step_credit(
      rollouts, paid, shared, step_ids, values, step_mask=known, **options
  )


def lare(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    values: Tokens,
    step_rewards: Float[Array, "B G K"],
    step_ids: Int[Array, "B G T"],
    step_mask: Bool[Array, "B G K"] | None = None,
    decay: Scalar = 0.95,
    **critic: Unpack[Critic],
) -> tuple[Mean, dict[str, Mean]]:
  """PPO on an outcome that was redistributed over the steps.

  Credit: `lare_credit`. The model of step rewards is trained by
  `reward_models.decomposition.return_decomposition_loss`.

  Args:
    log_probs: see `recipes.policy_gradient`, as the next two.
    rollouts: samples made of steps.
    reward: the outcome, any scale.
    values: see `actor_critic.ppo`, as `**critic`.
    step_rewards: of the model, held; one constant for all steps of a sample
      is added so that they sum to its outcome.
    step_ids: the step of each token.
    step_mask: True for real steps.
    decay: lambda.
    **critic: the rest of PPO.

  References:
    "Latent Reward: LLM-Empowered Credit Assignment in Episodic Reinforcement
      Learning" (LaRe).
  """
  behavior = critic.get("behavior_values")
  held = values if behavior is None else behavior
  credit = credit_of(
      rollouts, reward, lare_credit, held,
      step_rewards=step_rewards, step_ids=step_ids, step_mask=step_mask,
      decay=decay,
  )
  return actor_critic.ppo(log_probs, rollouts, credit, values=values, **critic)
