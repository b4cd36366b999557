"""Scores of scenes of several agents, in any order but for the first."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from rewardjax.core import masking
from rewardjax.models.heads import VectorHead


class SceneEvaluator(nn.Module):
  """One score of a scene: the ego's path, and the sum over all others.

  Every other agent is read together with the ego by one shared network, so
  that the order of the agents after the first does not matter, and agents
  that are masked are as if they were absent.

  Attributes:
    width: of the hidden layers.
    dtype: of the hidden layers; parameters and scores are float32.
  """

  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      paths: Float[Array, "*batch A T F"],
      mask: Bool[Array, "*batch A"] | None = None,
      context: Float[Array, "*batch C"] | None = None,
  ) -> Float[Array, "*batch"]:
    """Scores, 0 at first.

    Args:
      paths: of A agents over T steps; agent 0 is the ego.
      mask: True for real agents; the ego always is. None means all.
      context: such as features of the map.
    """
    flat = paths.reshape(*paths.shape[:-2], -1)
    if mask is not None:
      flat = masking.fill_masked(
          flat, jnp.broadcast_to(mask[..., None], flat.shape)
      )
    ego, others = flat[..., :1, :], flat[..., 1:, :]
    near = others - ego  # what matters is where they are as seen from it
    both = jnp.concatenate(
        [jnp.broadcast_to(ego, others.shape), others, near], axis=-1
    )
    dense = lambda: nn.Dense(self.width, dtype=self.dtype)
    each = nn.relu(dense()(nn.relu(dense()(both))))
    real = None
    if mask is not None:
      real = jnp.broadcast_to(mask[..., 1:, None], each.shape)
    parts = [ego[..., 0, :], masking.masked_sum(each, real, -2)]
    if context is not None:
      parts.append(context)
    head = VectorHead(1, (self.width,), dtype=self.dtype)
    return head(jnp.concatenate(parts, axis=-1))[..., 0]
