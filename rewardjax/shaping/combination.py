"""Two readings of one reward: which one counts, and how much."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Reward, Scalar


def gated(
    rule: Reward, model: Reward, verifiable: Bool[Array, "*batch"]
) -> Reward:
  """The rule's reward where a task can be checked, the model's elsewhere.

  Bring both to one scale first, such as [0, 1]. What can be checked is a
  property of the task, never of the answer: an answer that the rule cannot
  read must not be handed to the model.

  Args:
    rule: of a verifier; unknown ones stay unknown.
    model: a learned score.
    verifiable: True where the rule applies.

  Returns:
    A reward per sample, float32 or wider; only the reading that counts must
    be known.

  Gradient: flows through the value that counts, exactly 0 to the other.

  Raises:
    ValueError: if shapes differ.

  References:
    "Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward
      Optimization" (HARMO).
  """
  shapes = dict(rule=rule.value, model=model.value, verifiable=verifiable)
  checks.same_shape("gated", **shapes)
  value = jnp.where(
      verifiable,
      masking.fill_masked(rule.value, verifiable & rule.valid),
      masking.fill_masked(model.value, ~verifiable & model.valid),
  )
  return Reward(value, jnp.where(verifiable, rule.valid, model.valid))


def uncertainty_weighted(
    losses: Float[Array, "*shape"],
    uncertainties: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    coefficient: Scalar = 0.0,
) -> Float[Array, "*shape"]:
  """exp(-u) loss + coefficient u, per element.

  Args:
    losses: of a reward model that may be wrong here, in any unit.
    uncertainties: u >= 0, such as the divergence of two near readings; 0
      leaves the loss as it is.
    mask: True for real elements; None means all.
    coefficient: of the term that keeps u from growing. With one the optimum
      trades loss against u; in a toy of ours it made things worse.

  Returns:
    Float32 or wider, 0 where masked.

  Gradient: flows through both; d/du = coefficient - exp(-u) loss. Hold u
  constant to weight only.

  Raises:
    ValueError: if shapes differ.

  References:
    "Ctrl-U: Robust Conditional Image Generation via Uncertainty-aware Reward
      Modeling".
  """
  where = "uncertainty_weighted"
  checks.same_shape(
      where, losses=losses, uncertainties=uncertainties, mask=mask
  )
  u = masking.fill_masked(uncertainties, mask)
  weighted = jnp.exp(-u) * masking.fill_masked(losses, mask)
  return masking.fill_masked(weighted + coefficient * u, mask)


def reward_fusion(
    own: Float[Array, "*batch"],
    bank: Float[Array, "*batch K"],
    similarity: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
    *,
    threshold: Scalar = 0.9,
) -> Float[Array, "*batch"]:
  """(r + sum_k s_k r_k) / (1 + sum_k s_k) over near texts, s_k > threshold.

  Args:
    own: reward of a text.
    bank: rewards of K texts it resembles, such as its nearest chosen ones.
    similarity: of each, in [-1, 1]; the text's own weight is 1.
    mask: True for entries that exist; None means all.
    threshold: less similar ones do not count; at 0 or above weights are
      positive.

  Returns:
    In reward units, float32 or wider; `own` where nothing is near.

  Gradient: flows through the rewards and the similarities that count.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "The Trickle-down Impact of Reward (In-)consistency on RLHF"
      (RewardFusion).
  """
  where = "reward_fusion"
  checks.same_shape(where, bank=bank, similarity=similarity, mask=mask)
  checks.same_shape(where, own=own, rows=bank[..., 0])
  near = similarity > threshold
  near = near if mask is None else near & mask
  weights = masking.fill_masked(similarity, near)
  total = jnp.sum(weights * masking.fill_masked(bank, near), axis=-1)
  own = masking.as_accumulator(own)
  return (own + total) / (1 + jnp.sum(weights, axis=-1))
