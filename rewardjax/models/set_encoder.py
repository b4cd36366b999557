"""A few comparisons of one user, in any order, as a Gaussian over a latent."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


class Gaussian(NamedTuple):
  """Diagonal; `log_variance` in nats."""

  mean: Float[Array, "*batch D"]
  log_variance: Float[Array, "*batch D"]


class SetEncoder(nn.Module):
  """q(latent | C compared pairs): pair by pair, attention, mean over pairs.

  Invariant to the order of the pairs and to padding; which of a pair was
  preferred is told by its place in the features.

  Attributes:
    hidden: width H of pairs.
    latent: size D of the latent.
    bound: the log-variance is clipped to +-bound, which keeps the KL to a
      standard normal away from 0 and the gradient 0 outside; None: as it is.
    activation: of the layer that reads a pair.
  """

  hidden: int
  latent: int
  bound: float | int | None = 1.0
  activation: Callable[[Array], Array] = nn.leaky_relu

  @nn.compact
  def __call__(
      self,
      chosen: Float[Array, "*batch C F"],
      rejected: Float[Array, "*batch C F"],
      mask: Bool[Array, "*batch C"] | None = None,
  ) -> Gaussian:
    """The Gaussian; without a valid pair it is that of an empty set.

    Raises:
      ValueError: if shapes differ.
    """
    where = "SetEncoder"
    checks.same_shape(where, chosen=chosen, rejected=rejected)
    checks.same_shape(where, pairs=chosen[..., 0], mask=mask)
    mask = jnp.ones(chosen.shape[:-1], bool) if mask is None else mask
    pairs = jnp.concatenate([chosen, rejected], axis=-1)
    wide = jnp.broadcast_to(mask[..., None], pairs.shape)
    pairs = masking.fill_masked(pairs, wide)
    hidden = self.activation(nn.Dense(self.hidden)(pairs))
    attended = self._attend(nn.Dense(self.hidden)(hidden), mask)
    wide = jnp.broadcast_to(mask[..., None], attended.shape)
    pooled = masking.masked_mean(attended, wide, axis=-2)
    mean = nn.Dense(self.latent, name="mean")(pooled)
    log_variance = nn.Dense(self.latent, name="log_variance")(pooled)
    if self.bound is not None:
      log_variance = jnp.clip(log_variance, -self.bound, self.bound)
    return Gaussian(mean, log_variance)

  def _attend(self, x, mask):
    """One head of self-attention over the valid pairs of a set."""
    query, key, value = (
        nn.Dense(self.hidden, use_bias=False, name=name)(x)
        for name in ("query", "key", "value")
    )
    logits = jnp.matmul(query, jnp.swapaxes(key, -1, -2)) * self.hidden**-0.5
    # Not -inf: a set in which nothing is valid would be NaN.
    logits = jnp.where(mask[..., None, :], logits, -1e9)
    return jnp.matmul(jax.nn.softmax(logits, axis=-1), value)
