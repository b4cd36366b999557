"""Rewards of a user who is known by a few comparisons only.

Two ways: a mixture of prototype ideal points in one space, and a Gaussian
over a latent that the reward model is conditioned on.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import checks, masking
from rewardjax.reward_models import contrastive
from rewardjax.types import Scalar


def mixture_weights(
    logits: Float[Array, "*batch K"], *, temperature: Scalar = 1.0
) -> Float[Array, "*batch K"]:
  """softmax(logits / temperature): how much of each prototype a user is.

  Gradient: flows through `logits`.

  Raises:
    ValueError: if `temperature` is not positive.
  """
  checks.within("mixture_weights", 0.0, low_open=True, temperature=temperature)
  return jax.nn.softmax(masking.as_accumulator(logits) / temperature, axis=-1)


def ideal_point(
    weights: Float[Array, "*batch K"], prototypes: Float[Array, "*#batch K D"]
) -> Float[Array, "*batch D"]:
  """The mixture of the prototypes: what the user likes best.

  Args:
    weights: of the prototypes, for each user.
    prototypes: the same for all, `[K, D]`, or of the prompt of each row.

  Gradient: flows through both.
  """
  return jnp.matmul(
      masking.as_accumulator(weights)[..., None, :],
      masking.as_accumulator(prototypes),
      precision=jax.lax.Precision.HIGHEST,
  )[..., 0, :]


def ideal_point_reward(
    items: Float[Array, "*batch D"],
    ideals: Float[Array, "*batch D"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    epsilon: Scalar = 1e-8,
) -> Float[Array, "*batch"]:
  """-|item - ideal|: higher is closer.

  A rotation of the space, of items and prototypes alike, changes nothing. A
  margin is the difference of two rewards of the same user.

  Args:
    items: embedded.
    ideals: of the user of each item.
    mask: True for real items.
    epsilon: added under the root, so that an item at its ideal point has a
      gradient: 0.

  Returns:
    Rewards, at most 0; 0 where masked.

  Gradient: flows through `items` and `ideals`.

  Raises:
    ValueError: if shapes differ.

  References:
    Chen et al., "PAL: Pluralistic Alignment Framework for Learning from
      Heterogeneous Preferences", 2024, arXiv:2406.08469.
  """
  where = "ideal_point_reward"
  checks.same_shape(where, items=items, ideals=ideals)
  checks.same_shape(where, rows=items[..., 0], mask=mask)
  gap = masking.as_accumulator(items) - masking.as_accumulator(ideals)
  if mask is not None:
    gap = masking.fill_masked(gap, jnp.broadcast_to(mask[..., None], gap.shape))
  distance = jnp.sqrt(jnp.sum(jnp.square(gap), axis=-1) + epsilon)
  return masking.fill_masked(-distance, mask)


def angular_reward(
    items: Float[Array, "*batch D"],
    ideals: Float[Array, "*batch D"],
    log_scale: Scalar,
    mask: Bool[Array, "*batch"] | None = None,
    *,
    largest: Scalar = 100.0,
) -> Float[Array, "*batch"]:
  """exp(log_scale) cos(item, ideal): higher points the same way.

  Args:
    items: embedded.
    ideals: of the user of each item.
    log_scale: learned; the scale is at most `largest`, where it stops.
    mask: True for real items.
    largest: above 0.

  Returns:
    Rewards within the scale; 0 where masked, and for a zero vector.

  Gradient: flows through `items`, `ideals` and, below the limit,
    `log_scale`.

  Raises:
    ValueError: if shapes differ or `largest` is not positive.

  References:
    As `ideal_point_reward` (PAL-B).
  """
  where = "angular_reward"
  checks.within(where, 0.0, low_open=True, largest=largest)
  checks.same_shape(where, items=items, ideals=ideals)
  checks.same_shape(where, rows=items[..., 0], mask=mask)
  if mask is not None:
    wide = jnp.broadcast_to(mask[..., None], items.shape)
    items, ideals = (masking.fill_masked(x, wide) for x in (items, ideals))
  scale = jnp.exp(jnp.minimum(log_scale, jnp.log(largest)))
  return masking.fill_masked(scale * contrastive.cosine(items, ideals), mask)


def kl_anneal(
    step: Scalar, *, period: Scalar, base: Scalar = 0.1
) -> Float[Array, ""]:
  """Weight of the KL term: from `base` up to 1 in every period, by a cosine.

      base + (1 - base) (1 - cos(pi (step mod period) / period)) / 2

  Starts anew each period: a latent that the KL has emptied is used again.

  Raises:
    ValueError: if `period` is not positive or `base` is no probability.

  References:
    Fu et al., "Cyclical Annealing Schedule", 2019, arXiv:1903.10145.
  """
  checks.within("kl_anneal", 0.0, low_open=True, period=period)
  checks.probability("kl_anneal", base=base)
  phase = jnp.mod(jnp.asarray(step, jnp.float32), period) / period
  return base + (1 - base) * 0.5 * (1 - jnp.cos(math.pi * phase))


def draw_latent(
    key: Key[Array, ""],
    mean: Float[Array, "*batch D"],
    log_variance: Float[Array, "*batch D"],
    *,
    normalize: bool = False,
) -> Float[Array, "*batch D"]:
  """mean + noise exp(log_variance / 2).

  Args:
    key: consumed.
    mean: of the Gaussian.
    log_variance: of the Gaussian.
    normalize: scales the draw to length sqrt(D) (static). Scale what is read
      at evaluation, `on_sphere(mean)`, in the same way: a model trained on
      the sphere has not seen other lengths.

  Gradient: flows through `mean` and `log_variance`.
  """
  checks.same_shape("draw_latent", mean=mean, log_variance=log_variance)
  mean = masking.as_accumulator(mean)
  std = jnp.exp(0.5 * masking.as_accumulator(log_variance))
  drawn = mean + std * jax.random.normal(key, mean.shape, mean.dtype)
  return on_sphere(drawn) if normalize else drawn


def on_sphere(
    latent: Float[Array, "*batch D"], *, epsilon: Scalar = 1e-12
) -> Float[Array, "*batch D"]:
  """latent scaled to length sqrt(D), that of a standard normal draw.

  Gradient: flows through `latent`.
  """
  latent = masking.as_accumulator(latent)
  square = jnp.mean(jnp.square(latent), axis=-1, keepdims=True)
  return latent / jnp.sqrt(square + epsilon)


def win_rate_reward(
    rewards: Float[Array, "*batch"],
    reference: Float[Array, " S"],
    mask: Bool[Array, " S"] | None = None,
) -> Float[Array, "*batch"]:
  """Mean over a reference set of sigmoid(r - r'): rewards in (0, 1).

  Comparisons leave the scale of a user's rewards free; a policy trained for
  many users would serve those whose scale is large. These are comparable.

  Args:
    rewards: of one user.
    reference: of the same user, on samples everybody is scored on.
    mask: True for real reference samples.

  Returns:
    Probability to beat a reference sample; 0 if there is none.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes do not fit.

  References:
    Poddar et al., "Personalizing Reinforcement Learning from Human Feedback
      with Variational Preference Learning", 2024 (scaling of rewards).
  """
  checks.same_shape("win_rate_reward", reference=reference, mask=mask)
  reference = masking.fill_masked(reference, mask)
  row = reference.reshape((1,) * rewards.ndim + reference.shape)
  wins = jax.nn.sigmoid(masking.as_accumulator(rewards)[..., None] - row)
  known = None
  if mask is not None:
    known = jnp.broadcast_to(mask.reshape(row.shape), wins.shape)
  return masking.masked_mean(wins, known, axis=-1)


def query_information(
    log_odds: Float[Array, "*batch S"],
) -> Float[Array, "*batch"]:
  """What one comparison would tell of the latent, in nats.

      H(mean_s p_s) - mean_s H(p_s),   p_s = sigmoid(log_odds_s)

  Args:
    log_odds: r_A - r_B of a pair under S latents drawn for one user; ask the
      pair with the largest information.

  Returns:
    In [0, log 2]: 0 where all latents agree.

  Gradient: flows through `log_odds`.

  References:
    Houlsby et al., "Bayesian Active Learning for Classification and
      Preference Learning", 2011, arXiv:1112.5745.
  """
  log_odds = masking.as_accumulator(log_odds)
  size = math.log(log_odds.shape[-1])
  # Both means in logs: 1 - p would lose the small probabilities.
  total = lambda x: jax.nn.logsumexp(jax.nn.log_sigmoid(x), -1) - size
  of_mean = _binary_entropy(total(log_odds), total(-log_odds))
  each = _binary_entropy(
      jax.nn.log_sigmoid(log_odds), jax.nn.log_sigmoid(-log_odds)
  )
  return jnp.maximum(of_mean - jnp.mean(each, axis=-1), 0.0)


def _binary_entropy(log_p, log_q):
  return -(jnp.exp(log_p) * log_p + jnp.exp(log_q) * log_q)
