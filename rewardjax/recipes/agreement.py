"""Papers that learn from agreement instead of labels.

The arguments that they share with other recipes are explained in
`recipes.policy_gradient`.
"""

from typing import Unpack

from jaxtyping import Array, Float, Int

from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit
from rewardjax.recipes.losses import Anchor
from rewardjax.recipes.policy_gradient import grpo
from rewardjax.rewards import agreement
from rewardjax.search import voting
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]


def majority_reward(answers: Int[Array, "B G"], reward: Reward) -> Reward:
  """1 for the majority answer of one's own group (the collapsing baseline).

  Args:
    answers: ids >= 0; negative where there is none.
    reward: only `valid` is read: samples that are not vote for nothing.
  """
  labels = voting.majority_vote(answers, reward.valid).answer
  return Reward(agreement.matches(answers, labels), reward.valid)


def twin_reward(answers: Int[Array, "B G"], reward: Reward) -> Reward:
  """1 for the majority answer of the same problem in other words.

  Args:
    answers: ids >= 0, equal across wordings where the answers are; negative
      where there is none, which earns 0. Prompts 2i and 2i + 1 are the two
      wordings of a problem.
    reward: only `valid` is read.

  Raises:
    ValueError: if the number of prompts is odd.
  """
  if answers.shape[0] % 2:
    raise ValueError(
        "twin_reward: answers must have pairs of prompts, got "
        f"{answers.shape[0]}."
    )
  labels = voting.majority_vote(answers, reward.valid).answer
  pairs = lambda x: x.reshape(-1, 2, *x.shape[1:])
  value = agreement.twin_matches(pairs(answers), pairs(labels))
  return Reward(value.reshape(answers.shape), reward.valid)


def co_reward(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    answers: Int[Array, "B G"],
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar | None = None,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO on agreement with the majority answer to the other wording.

  Credit: `group_credit` of `twin_reward(answers, reward)`; of `reward` only
  `valid` is read. The KL loss weighs 0.005 by default where there is a
  reference. Both wordings are trained.

  References:
    "Co-Reward: Self-supervised Reinforcement Learning for Large Language
      Model Reasoning via Contrastive Agreement", 2025.
  """
  if isinstance(reward, Reward):
    reward = twin_reward(answers, reward)
  if kl_coefficient is None:
    kl_coefficient = 0.0 if reference_log_probs is None else 0.005
  return grpo(
      log_probs, rollouts, reward,
      reference_log_probs=reference_log_probs, kl_coefficient=kl_coefficient,
      clip_low=clip_low, clip_high=clip_high, **anchor,
  )
