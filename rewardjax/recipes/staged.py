"""Designed rewards first, then what users prefer: stages of one policy."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient, regularizers
from rewardjax.reward_models import ensembles
from rewardjax.types import Reward, Rollouts, Scalar


def standardized_sum(
    rewards: Float[Array, "*batch M"],
    scale: ensembles.Scale,
    weights: Float[Array, " M"],
    mask: Bool[Array, "*batch M"] | None = None,
) -> Reward:
  """sum_j w_j (r_j - mean_j) / std_j, on the scale of reference samples.

  No reward's unit or offset matters if `scale` was fitted to it: a cosine
  that hardly varies counts as much as a score in points.

  Args:
    rewards: M of each sample.
    scale: of `ensembles.fit_scale` on samples of the first policy, kept while
      training.
    weights: of each; where one is 0 its reward need not be known.
    mask: True for rewards that are known; None means all.

  Returns:
    A reward per sample, valid where all that count are known.

  Gradient: flows through `rewards` and `weights`.

  Raises:
    ValueError: if shapes differ.

  References:
    Cideron et al., "MusicRL: Aligning Music Generation to Human
      Preferences", 2024, arXiv:2402.04229.
  """
  where = "standardized_sum"
  checks.same_shape(where, rewards=rewards, mask=mask)
  checks.same_shape(where, weights=weights, mean=scale.mean)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  weights = weights.reshape((1,) * (rewards.ndim - 1) + weights.shape)
  terms = weights * masking.fill_masked(
      ensembles.standardize(masking.fill_masked(rewards, mask), scale), mask
  )
  return Reward(jnp.sum(terms, -1), jnp.all(mask | (weights == 0), -1))


def music_rl(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    reward: Reward,
    baseline: Float[Array, " B"],
    reference_log_probs: Float[Array, "B G T"],
    *,
    kl_coefficient: Scalar,
) -> tuple[Mean, dict[str, Mean]]:
  """REINFORCE over sequences, a learned baseline, and a penalty per token.

      -(r - kl_coefficient sum_t (log mu_t - log ref_t) - b) sum_t log pi_t

  The samples must be of the present policy: there is no ratio.

  Args:
    log_probs: of the sampled tokens under the trained policy.
    rollouts: the samples.
    reward: `[B, G]`, of the stage: `standardized_sum` of designed rewards, of
      a model of users, or of both.
    baseline: of each prompt, such as a value head or a running table; it is
      trained by the second metric.
    reference_log_probs: of the same tokens under the first policy.
    kl_coefficient: reward units per nat.

  Returns:
    The loss, one term per valid sample; metrics: `baseline`, the squared
    error that trains it, and `reference_kl` in nats per sequence.

  Gradient: flows through `log_probs` in the loss, `baseline` in its metric.

  Raises:
    ValueError: if shapes differ.

  References:
    Cideron et al., "MusicRL: Aligning Music Generation to Human
      Preferences", 2024, arXiv:2402.04229.
  """
  mask = rollouts.mask
  checks.same_shape(
      "music_rl", log_probs=log_probs, mask=mask, reference=reference_log_probs
  )
  checks.same_shape("music_rl", reward=reward.value, samples=mask[..., 0])
  penalty = regularizers.kl_reward_penalty(
      rollouts.log_probs, reference_log_probs, mask, coefficient=1.0
  )
  kl = -jnp.sum(penalty, axis=-1)
  paid = masking.fill_masked(reward.value, reward.valid) - kl_coefficient * kl
  paid = jax.lax.stop_gradient(paid)
  error = paid - baseline[:, None]
  total = masking.masked_sum(log_probs, mask, -1)
  losses = policy_gradient.score_surrogate(total, error)
  return Mean.of(losses, reward.valid), {
      "baseline": Mean.of(jnp.square(error), reward.valid),
      "reference_kl": Mean.of(kl, reward.valid),
  }
