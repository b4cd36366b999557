"""Pulling a policy towards a reference, and towards spread.

What a KL estimator is *worth* (`core.divergences`) and where its gradient
*leads* are two questions. With tokens drawn from mu, p the trained policy,
q the reference, d = log p - log q and s = grad log p, the expected gradients
of `kl_loss` are

| estimator           | mu = p       | any mu            | any mu, ratio |
|---------------------|--------------|-------------------|---------------|
| k1                  | 0            | -grad KL(mu, p)   | grad KL(p, q) |
| k2                  | grad KL(p, q)| E_mu[d s]         | grad KL(p, q) |
| k3                  | grad KL(q, p)| E_mu[(1 - q/p) s] | grad KL(p, q) |
| k1_straight_through | grad KL(p, q)| E_mu[d s]         | grad KL(p, q) |
| k3_straight_through | grad KL(p, q)| E_mu[d s]         | grad KL(p, q) |

So k1 as a loss adds nothing but noise (and off-policy pushes away from mu),
and k3 descends the other divergence. E_mu[d s] is the gradient of
E_mu[d^2] / 2: zero at p = q, but not that of a KL.

"Ratio" weighs by p / mu. k1 and k3 then differentiate the ratio as well, which
makes theirs the gradient of the expectation that they estimate; the others
hold it, since E_p[k2] is not the KL but E_p[d s] is its gradient.

All this is per token, given its prefix. The KL of whole sequences also
depends on how early tokens change later prefixes: only k1 *in the reward*
(`kl_reward_penalty`, then a reward-to-go or sequence return) has that part,
and then its policy gradient is exact.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, divergences, masking
from rewardjax.types import Scalar

KlEstimator = Literal[
    "k1", "k2", "k3", "k1_straight_through", "k3_straight_through"
]


def kl_loss(
    log_probs: Float[Array, "*shape"],
    reference_log_probs: Float[Array, "*shape"],
    *,
    estimator: KlEstimator,
    ratio: Float[Array, "*#shape"] | None = None,
) -> Float[Array, "*shape"]:
  """A KL estimate per sampled token, to be minimised; see the table above.

  Args:
    log_probs: log p of the sampled tokens, in nats.
    reference_log_probs: log q of the same tokens.
    estimator: which value, and which gradient (static). A straight-through
      form has the value of k1 or k3 and the gradient of k2.
    ratio: p / mu, as `policy_gradient.token_ratio` returns it, for tokens
      drawn from mu; None leaves them unweighted.

  Returns:
    Nats per token, float32 or wider.

  Gradient: flows through `log_probs`, and through `ratio` for k1 and k3;
    `reference_log_probs` are held.

  Raises:
    ValueError: if shapes do not fit, or `estimator` is unknown.

  References:
    Schulman, "Approximating KL Divergence", 2020.
    Tang and Munos, "On a few pitfalls in KL divergence gradient estimation
      for RL", 2025, arXiv:2506.09477.
  """
  checks.one_of("kl_loss", get_args(KlEstimator), estimator=estimator)
  q = jax.lax.stop_gradient(reference_log_probs)
  k2 = divergences.k2(log_probs, q)
  if estimator == "k2":
    losses = k2
  elif estimator.startswith("k1"):
    losses = divergences.k1(log_probs, q)
  else:
    losses = divergences.k3(log_probs, q)
  if estimator.endswith("straight_through"):
    # k2 - sg(k2) adds nothing to the value and everything to the gradient.
    losses = jax.lax.stop_gradient(losses - k2) + k2
  if ratio is None:
    return losses
  checks.broadcasts_to("kl_loss", losses.shape, ratio=ratio)
  if estimator not in ("k1", "k3"):
    ratio = jax.lax.stop_gradient(ratio)
  return ratio * losses


def kl_reward_penalty(
    behavior_log_probs: Float[Array, "*batch T"],
    reference_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    coefficient: Scalar,
) -> Float[Array, "*batch T"]:
  """-coefficient * (log mu - log q): a reward per token, to be added.

  Its policy gradient, through returns, is that of -coefficient * KL(mu || q)
  over whole sequences, exactly.

  Args:
    behavior_log_probs: of the sampled tokens under the policy that drew them.
    reference_log_probs: of the same tokens under the reference.
    mask: True on sampled tokens; elsewhere the penalty is 0.
    coefficient: reward units per nat.
  """
  checks.same_shape(
      "kl_reward_penalty", behavior_log_probs=behavior_log_probs, mask=mask
  )
  behavior = masking.fill_masked(behavior_log_probs, mask)
  reference = masking.fill_masked(reference_log_probs, mask)
  return -coefficient * divergences.k1(behavior, reference)


def adaptive_kl_coefficient(
    coefficient: Scalar,
    kl: Scalar,
    *,
    target: Scalar,
    horizon: Scalar,
    num_samples: Scalar,
    bound: Scalar = 0.2,
) -> Float[Array, ""]:
  """coefficient (1 + clip(kl / target - 1, -bound, bound) samples / horizon).

  Args:
    coefficient: the present one.
    kl: measured to the reference, in nats, per sequence if the target is.
    target: where the KL should settle.
    horizon: samples over which the coefficient may change by a factor of
      about 1 + bound.
    num_samples: seen since the last call.
    bound: largest relative error acted upon.

  References:
    Ziegler et al., "Fine-Tuning Language Models from Human Preferences",
      2019, arXiv:1909.08593, Sec. 2.2.
  """
  checks.within(
      "adaptive_kl_coefficient",
      0.0,
      low_open=True,
      target=target,
      horizon=horizon,
  )
  error = jnp.clip(jnp.asarray(kl, float) / target - 1, -bound, bound)
  return coefficient * (1 + error * num_samples / horizon)


def entropy_bonus(
    entropies: Float[Array, "*shape"], *, coefficient: Scalar
) -> Float[Array, "*shape"]:
  """-coefficient * entropy: minimised by spreading out.

  Args:
    entropies: of the whole distribution at each token, in nats. The sampled
      -log p will not do: as a loss its expected gradient on-policy is 0.
    coefficient: loss units per nat; positive spreads.

  Gradient: flows through `entropies`.
  """
  return -coefficient * masking.as_accumulator(entropies)


def entropy_band(
    entropies: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    low: Scalar,
    high: Scalar,
    coefficient: Scalar,
) -> Float[Array, "*batch"]:
  """coefficient (relu(low - H)^2 + relu(H - high)^2), H the row's mean.

  Spreads a policy that has become too narrow and narrows one that has become
  too wide; inside the band it says nothing. A batch reshaped to one row is
  held by its overall mean instead of row by row.

  Args:
    entropies: of the whole distribution at each token, in nats.
    mask: True on tokens that count.
    low: where the band begins, in nats per token.
    high: where it ends.
    coefficient: loss units per nat squared.

  Returns:
    A loss per row, float32 or wider; 0 for rows without a valid token.

  Gradient: flows through `entropies` of valid tokens, split evenly.

  Raises:
    ValueError: if shapes differ, low > high as Python numbers, or
      `coefficient` is negative.
  """
  where = "entropy_band"
  checks.same_shape(where, entropies=entropies, mask=mask)
  checks.at_least(where, 0, coefficient=coefficient)
  if isinstance(low, int | float):
    checks.at_least(where, low, high=high)
  mean = masking.masked_mean(entropies, mask, -1)
  outside = jax.nn.relu(low - mean) + jax.nn.relu(mean - high)
  losses = coefficient * jnp.square(outside)
  return jnp.where(masking.count(entropies, mask, -1) > 0, losses, 0.0)
