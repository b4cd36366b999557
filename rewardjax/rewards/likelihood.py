"""Rewards from log-probabilities: of a reference answer, or of one's own steps.

The reference answer is scored after the sampled reasoning, token by token,
under the policy: no verifier is asked. Answer tokens, L of them, include the
delimiters that a sampled answer would have. Everything is in nats.
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, numerics, statistics
from rewardjax.types import Scalar

Kind = Literal["log_prob", "mean_log_prob", "prob", "geometric", "mean_prob"]


def answer_likelihood(
    log_probs: Float[Array, "*batch L"],
    mask: Bool[Array, "*batch L"] | None = None,
    *,
    kind: Kind,
) -> Float[Array, "*batch"]:
  """One number from the log-probs of the tokens of the reference answer.

      log_prob       sum_t log p_t      grows with L; its gradient is that of
                                        supervised learning of the answer
      mean_log_prob  sum_t log p_t / L  one bad token can outweigh all others
      prob           exp(sum)           flat for long answers
      geometric      exp(mean)
      mean_prob      mean_t p_t         one bad token costs at most 1 / L

  Args:
    log_probs: of the answer's tokens, given prompt and reasoning.
    mask: True on tokens of the answer; None means all.
    kind: see above (static).

  Returns:
    Nats or a probability, float32 or wider. An empty answer has 0: for the
    log kinds that is the best there is, so keep it out by the validity of
    its reward.

  Gradient: flows through `log_probs`.

  Raises:
    ValueError: if shapes differ or `kind` is unknown.

  References:
    "Likelihood-Based Reward Designs for General LLM Reasoning" (all kinds).
    "RLPR: Extrapolating RLVR to General Domains without Verifiers", 2025
      (mean_prob).
    Zhou et al., "Reinforcing General Reasoning without Verifiers", 2025
      (VeriFree: prob).
  """
  checks.one_of("answer_likelihood", get_args(Kind), kind=kind)
  checks.same_shape("answer_likelihood", log_probs=log_probs, mask=mask)
  if kind == "mean_prob":
    # Filled before the exponential: a masked entry may be anything.
    probabilities = jnp.exp(masking.fill_masked(log_probs, mask))
    return masking.masked_mean(probabilities, mask, -1)
  mean = kind in ("mean_log_prob", "geometric")
  reduce = masking.masked_mean if mean else masking.masked_sum
  value = reduce(log_probs, mask, -1)
  if kind in ("log_prob", "mean_log_prob"):
    return value
  return jnp.where(masking.count(log_probs, mask, -1) > 0, jnp.exp(value), 0.0)


def debiased(
    likelihoods: Float[Array, "*batch G"],
    baseline: Float[Array, "*#batch #G"],
) -> Float[Array, "*batch G"]:
  """max(likelihood - baseline, 0): what the reasoning added.

  Args:
    likelihoods: of the reference answer after each sampled reasoning.
    baseline: of the same answer without any reasoning, per prompt `[..., 1]`.

  Gradient: flows through both where the result is positive.

  References:
    "RLPR: Extrapolating RLVR to General Domains without Verifiers", 2025.
  """
  checks.broadcasts_to("debiased", likelihoods.shape, baseline=baseline)
  return jnp.maximum(masking.as_accumulator(likelihoods) - baseline, 0.0)


def jensen_bound(
    log_likelihoods: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Float[Array, "*batch"]:
  """log of the mean likelihood of G reasonings, of one answer.

  Its expectation lies between E[log p] (G = 1) and log E[p], which it reaches
  as G grows.

  Args:
    log_likelihoods: log p(answer | reasoning), sums over the answer.
    mask: True for samples that count; None means all.

  Returns:
    Nats; -inf where nothing is valid.

  Gradient: flows through `log_likelihoods`, to each its share of the sum:
  softmax(log_likelihoods).

  References:
    Tang et al., "Beyond Verifiable Rewards: Scaling Reinforcement Learning
      for Language Models to Unverifiable Data", 2025 (JEPO).
  """
  checks.same_shape("jensen_bound", log_likelihoods=log_likelihoods, mask=mask)
  return numerics.log_mean_exp(log_likelihoods, mask)


def jensen_gains(
    log_likelihoods: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Float[Array, "*batch G"]:
  """What each reasoning adds to the bound: that of all less that without it.

  The others of a group are its baseline: as rewards of single samples, these
  make the score term of the bound's gradient unbiased, without another one.

  Args:
    log_likelihoods: log p(answer | reasoning), sums over the answer.
    mask: True for samples that count; None means all.

  Returns:
    Nats, float32 or wider; 0 where masked, and for a sample without others.

  Gradient: flows through `log_likelihoods`.

  Raises:
    ValueError: if shapes differ.

  References:
    Tang et al., "Beyond Verifiable Rewards", 2025 (JEPO).
    Mnih and Rezende, "Variational Inference for Monte Carlo Objectives", 2016
      (the baseline).
  """
  checks.same_shape("jensen_gains", log_likelihoods=log_likelihoods, mask=mask)
  mask = jnp.ones(log_likelihoods.shape, bool) if mask is None else mask
  values = masking.fill_masked(log_likelihoods, mask)
  itself = jnp.eye(values.shape[-1], dtype=bool)
  itself = itself.reshape((1,) * (values.ndim - 1) + itself.shape)
  rest = mask[..., None, :] & ~itself
  some = jnp.any(rest, axis=-1)
  # A group of one would compare with the logarithm of 0.
  kept = rest | ~some[..., None]
  others = jnp.broadcast_to(values[..., None, :], kept.shape)
  whole = jensen_bound(values, mask | ~jnp.any(mask, -1, keepdims=True))
  gains = whole[..., None] - jensen_bound(others, kept)
  return jnp.where(mask & some, gains, 0.0)


def implicit_step_rewards(
    log_probs: Float[Array, "*batch T"],
    behavior_log_probs: Float[Array, "*batch T"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    coefficient: Scalar,
    num_steps: int,
) -> Float[Array, "*batch K"]:
  """coefficient * sum over the tokens of a step of log phi - log mu.

  Exactly 0 where the reward model phi is the policy mu that sampled.

  Args:
    log_probs: of the sampled tokens under the reward model, a language model.
    behavior_log_probs: of the same tokens under the policy that drew them.
    step_ids: the step of each token, 0 .. K-1.
    mask: True on sampled tokens.
    coefficient: beta, reward units per nat.
    num_steps: K (static).

  Returns:
    Rewards of steps; 0 for steps without a token.

  Gradient: flows through `log_probs` and `behavior_log_probs`.

  Raises:
    ValueError: if shapes differ.

  References:
    Rafailov et al., "From r to Q*: Your Language Model is Secretly a
      Q-Function", 2024.
    "Online Process Reward Learning for Agentic Reinforcement Learning"
      (OPRL, iStar).
  """
  checks.same_shape(
      "implicit_step_rewards",
      log_probs=log_probs,
      behavior_log_probs=behavior_log_probs,
      step_ids=step_ids,
      mask=mask,
  )
  # Each is filled before the difference: inf - inf has a NaN gradient.
  ratios = masking.fill_masked(log_probs, mask) - masking.fill_masked(
      behavior_log_probs, mask
  )
  return coefficient * statistics.step_sums(
      ratios, step_ids, mask, num_steps=num_steps
  )
