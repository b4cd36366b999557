"""Policy gradients of chains of denoising steps, and choosing among samples.

Log-densities are those of `diffusion.samplers`, here with the T steps last:
`log_probs[..., t]`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.advantages import group
from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient
from rewardjax.search import selection
from rewardjax.types import Scalar


def step_policy_loss(
    log_probs: Float[Array, "*batch T"],
    behavior_log_probs: Float[Array, "*batch T"],
    advantages: Float[Array, "*#batch #T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    weights: Float[Array, " T"] | None = None,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    max_advantage: Scalar = jnp.inf,
    bound: float = 20.0,
) -> Mean:
  """w max(-A ratio, -A clip(ratio)) of each denoising step.

  Args:
    log_probs: of the steps under the trained model, summed over the event:
      then clips are near 0.2, where code that averages has 1e-4.
    behavior_log_probs: under the model that drew them.
    advantages: of each sample, or of each step.
    mask: True for steps that drew noise; None means all.
    weights: of each step; None weighs them alike.
    clip_low: see `objectives.policy_gradient.clipped_surrogate`.
    clip_high: see there.
    max_advantage: advantages are clipped to +-this.
    bound: of log-ratios: over many dimensions a ratio overflows.

  Gradient: flows through `log_probs`.

  Raises:
    ValueError: if shapes do not fit or a number is out of range.

  References:
    Black et al., "Training Diffusion Models with Reinforcement Learning",
      2023, arXiv:2305.13301.
  """
  where = "step_policy_loss"
  checks.within(where, 0.0, low_open=True, max_advantage=max_advantage)
  checks.broadcasts_to(where, log_probs.shape, advantages=advantages)
  ratio = policy_gradient.token_ratio(
      log_probs, behavior_log_probs, mask, bound=bound
  )
  losses = policy_gradient.clipped_surrogate(
      ratio, jnp.clip(advantages, -max_advantage, max_advantage),
      clip_low=clip_low, clip_high=clip_high,
  )
  if weights is not None:
    steps = losses.reshape(-1, losses.shape[-1])[0]
    checks.same_shape(where, weights=weights, steps=steps)
    losses = losses * weights.reshape((1,) * (losses.ndim - 1) + (-1,))
  return Mean.of(losses, mask)


def gen_drive(
    log_probs: Float[Array, "B G T"],
    behavior_log_probs: Float[Array, "B G T"],
    rewards: Float[Array, "B G"],
    denoise_errors: Float[Array, " N"],
    mask: Bool[Array, "B G T"] | None = None,
    *,
    anchor: Scalar,
    clip: Scalar = 0.2,
) -> tuple[Float[Array, ""], dict[str, Mean]]:
  """Group-relative policy gradient of a denoising chain, held by its data.

  Args:
    log_probs: of the steps of G scenes of each of B contexts.
    behavior_log_probs: under the model that drew them.
    rewards: of the scenes, by a learned evaluator.
    denoise_errors: of the trained model on recorded scenes.
    mask: True for steps that drew noise.
    anchor: loss units per denoising error.
    clip: of the ratios.

  Returns:
    The loss, a sum of two means, and both as metrics.

  Gradient: flows through `log_probs` and `denoise_errors`; with equal
    rewards it is that of the anchor alone.

  References:
    Huang et al., "Gen-Drive: Enhancing Diffusion Generative Driving Policies
      with Reward Modeling and Reinforcement Learning Fine-tuning", 2024.
  """
  advantages = group.standardized(jax.lax.stop_gradient(rewards))
  policy = step_policy_loss(
      log_probs, behavior_log_probs, advantages[..., None], mask,
      clip_low=clip, clip_high=clip,
  )
  kept = Mean.of(denoise_errors)
  metrics = dict(policy=policy, denoising=kept)
  return policy.value + anchor * kept.value, metrics


def generate_then_evaluate(
    key: Key[Array, ""],
    sample: Callable[[Array], Any],
    score: Callable[[Any], Float[Array, " N"]],
    *,
    num_samples: int,
) -> tuple[Any, Int[Array, ""]]:
  """Draws N scenes and takes the one that scores highest.

  Args:
    key: consumed.
    sample: from N keys to a tree of N samples, the leading axis (static).
    score: of these samples, higher is better; NaN is never chosen (static).
    num_samples: N (static).

  Returns:
    The sample and its place; the first one if no score is a number.

  Raises:
    ValueError: if `num_samples` is below 1.
  """
  checks.at_least("generate_then_evaluate", 1, num_samples=num_samples)
  samples = sample(jax.random.split(key, num_samples))
  best = jnp.maximum(selection.best_of_n(score(samples)), 0)
  return jax.tree.map(lambda x: x[best], samples), best
