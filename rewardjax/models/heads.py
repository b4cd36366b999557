"""Small heads on top of sequence features.

Positions are read off the mask, never off token ids: a stop token that
doubles as padding, or one inside the prompt, cannot mislead them.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from rewardjax.models import pooling


class RewardHead(nn.Module):
  """Reads one scalar reward off a sequence: its last valid position.

  Attributes:
    hidden: width of the hidden layer; 0 reads the reward linearly.
    dtype: of the hidden layer; parameters, the last projection and the
      reward are float32.
    pool: another function of `models.pooling`, from features and mask.
  """

  hidden: int = 0
  dtype: DTypeLike = jnp.float32
  pool: Callable[[Array, Array], Array] = pooling.last

  @nn.compact
  def __call__(
      self,
      features: Float[Array, "*batch T D"],
      mask: Bool[Array, "*batch T"],
  ) -> Float[Array, "*batch"]:
    """Rewards; finite and meaningless where nothing is valid."""
    pooled = self.pool(features, mask)
    widths = (self.hidden,) if self.hidden else ()
    return _project(pooled, widths, self.dtype)[..., 0]


class VectorHead(nn.Module):
  """Reads `outputs` rewards off features that are pooled already.

  Attributes:
    outputs: rewards of one item, such as attributes, grades or the numbers
      of a distribution.
    widths: of the hidden layers; none reads rewards linearly.
    activation: between layers.
    use_bias: of the last layer; without it the zero vector has reward 0. No
      comparison sees a bias.
    dtype: of the hidden layers; the rest is float32.
  """

  outputs: int
  widths: tuple[int, ...] = ()
  activation: Callable[[Array], Array] = nn.gelu
  use_bias: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self, features: Float[Array, "*batch D"]
  ) -> Float[Array, "*batch K"]:
    """Rewards, float32; all 0 at first."""
    return _project(
        features,
        self.widths,
        self.dtype,
        outputs=self.outputs,
        activation=self.activation,
        use_bias=self.use_bias,
    )


def own_attribute(
    scores: Float[Array, "*batch K K"],
) -> Float[Array, "*batch K"]:
  """Attribute k read off special token k only: the diagonal.

  Args:
    scores: of a `VectorHead` on `pooling.special` features: token, attribute.

  Raises:
    ValueError: if there is not one token per attribute.
  """
  if scores.shape[-1] != scores.shape[-2]:
    raise ValueError(
        f"own_attribute: scores must be square, got {scores.shape}."
    )
  return jnp.diagonal(scores, axis1=-2, axis2=-1)


class ValueHead(nn.Module):
  """Reads a value off every position, in reward units; 0 where masked.

  Attributes:
    hidden: width of the hidden layer; 0 reads values linearly.
    dtype: of the hidden layer; the rest is float32.
  """

  hidden: int = 0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      features: Float[Array, "*batch T D"],
      mask: Bool[Array, "*batch T"] | None = None,
  ) -> Float[Array, "*batch T"]:
    """Values; masked features may hold anything. No mask: all are real."""
    if mask is not None:
      zeros = jnp.zeros_like(features)
      features = jnp.where(mask[..., None], features, zeros)
    flat = features.reshape(-1, features.shape[-1])
    widths = (self.hidden,) if self.hidden else ()
    values = _project(flat, widths, self.dtype)
    values = values.reshape(features.shape[:-1])
    return values if mask is None else jnp.where(mask, values, 0.0)


def _project(
    x, widths, dtype, *, outputs=1, activation=nn.gelu, use_bias=True
):
  """To float32 outputs; called inside a compact module."""
  for width in widths:
    x = activation(nn.Dense(width, dtype=dtype)(x))
  # Zero initial weights: the first rewards are 0, whatever the features.
  out = nn.Dense(
      outputs,
      use_bias=use_bias,
      dtype=jnp.float32,
      kernel_init=nn.initializers.zeros,
  )
  return out(x)
