"""A reward model that writes a critique before it gives its reward."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean
from rewardjax.reward_models import pairwise
from rewardjax.types import Scalar


def critique_loss(
    chosen: Float[Array, " B"],
    rejected: Float[Array, " B"],
    critique_log_probs: Float[Array, "B 2 T"],
    critique_mask: Bool[Array, "B 2 T"],
    tied: Bool[Array, " B"] | None = None,
    *,
    language_weight: Scalar = 1.0,
    tie_weight: Scalar = 1.0,
    centre_weight: Scalar = 0.0,
) -> tuple[Mean, dict[str, Mean]]:
  """What is said of an answer, and the reward that is read at its end.

      -log sigmoid(r+ - r-)            of pairs that are no tie
      + tie_weight (r+ - r-)^2         of ties
      + centre_weight (r+ + r-)^2
      + language_weight (-log p)       mean over tokens, of both critiques

  Rewards come from a head behind the critique: a person's in training, the
  model's own afterwards. A bad critique makes a bad reward.

  Args:
    chosen: r+ of the chosen answers.
    rejected: r- of the others.
    critique_log_probs: of the tokens of the critiques of both.
    critique_mask: True for real tokens; a critique may be missing.
    tied: pairs where neither is better; None means no pair is.
    language_weight: at least 0.
    tie_weight: at least 0.
    centre_weight: at least 0.

  Returns:
    The loss over pairs, and each part as a metric.

  Gradient: flows through rewards and log-probs.

  Raises:
    ValueError: if shapes differ, or a weight is negative.

  References:
    "MM-RLHF: The Next Step Forward in Multimodal LLM Alignment".
  """
  where = "critique_loss"
  checks.at_least(
      where, 0.0, language_weight=language_weight, tie_weight=tie_weight,
      centre_weight=centre_weight,
  )
  checks.same_shape(where, log_probs=critique_log_probs, mask=critique_mask)
  checks.same_shape(
      where, chosen=chosen, rejected=rejected, tied=tied,
      critiques=critique_mask[:, 0, 0],
  )
  tied = jnp.zeros(chosen.shape, bool) if tied is None else tied
  diff = chosen - rejected
  preference = pairwise.pairwise_logistic(diff, ~tied)
  ties = jnp.where(tied, jnp.square(diff), 0.0)
  centre = pairwise.centre_penalty(chosen, rejected)
  said = masking.masked_mean(-critique_log_probs, critique_mask, -1)
  losses = preference + tie_weight * ties + centre_weight * centre
  losses = losses + language_weight * jnp.sum(said, axis=-1)
  return Mean.of(losses), {
      "preference": Mean.of(preference, ~tied),
      "ties": Mean.of(ties, tied),
      "critique": Mean.of(said, jnp.any(critique_mask, axis=-1)),
  }
