"""Items with a known true reward: a random network of a Gaussian vector.

    gold = gold_model(key, dim=16)
    pairs = compare(key, gold, num_pairs=600, rates=symmetric(0.25))
    scores = value(gold, candidates(key, (48, 2048), dim=16, tail=0.03))
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.core.random import split_named
from rewardjax.noise import channels
from rewardjax.types import NoiseRates, Scalar

_EXACT = NoiseRates(0.0, 0.0)


class Gold(NamedTuple):
  """tanh(x kernel) readout, standardised on N(0, I)."""

  kernel: Float[Array, "D H"]
  readout: Float[Array, " H"]
  mean: Float[Array, ""]
  std: Float[Array, ""]


class Pairs(NamedTuple):
  """Compared items. `label`, and `truth`: 1 where the first is better."""

  first: Float[Array, "N D"]
  second: Float[Array, "N D"]
  label: Float[Array, " N"]
  truth: Float[Array, " N"]
  gap: Float[Array, " N"]  # true reward of the first less the second's

  def oriented(self) -> tuple[Array, Array]:
    """Chosen and rejected, as labelled."""
    won = self.label[:, None] > 0.5
    return (
        jnp.where(won, self.first, self.second),
        jnp.where(won, self.second, self.first),
    )


def gold_model(
    key: Key[Array, ""], *, dim: int, hidden: int = 32, scale: Scalar = 2.0
) -> Gold:
  """A true reward of the first `dim` coordinates, mean 0 and variance 1."""
  keys = split_named(key, "kernel", "readout", "sample")
  kernel = jax.random.normal(keys["kernel"], (dim, hidden))
  kernel = scale * kernel / jnp.sqrt(float(dim))
  readout = jax.random.normal(keys["readout"], (hidden,))
  raw = Gold(kernel, readout, jnp.zeros(()), jnp.ones(()))
  found = value(raw, jax.random.normal(keys["sample"], (4096, dim)))
  return raw._replace(mean=jnp.mean(found), std=jnp.std(found))


def value(
    gold: Gold,
    x: Float[Array, "*batch K"],
    *,
    limit: Scalar | None = None,
    slope: Scalar = 0.5,
) -> Float[Array, "*batch"]:
  """The true reward; coordinates past its own D are not read.

  Args:
    gold: the network.
    x: items.
    limit: beyond this length the reward falls by `slope` per unit.
    slope: in reward units.
  """
  own = x[..., : gold.kernel.shape[0]]
  raw = jnp.tanh(own @ gold.kernel) @ gold.readout
  reward = (raw - gold.mean) / gold.std
  if limit is None:
    return reward
  return reward - slope * jnp.maximum(jnp.linalg.norm(own, axis=-1) - limit, 0)


def candidates(
    key: Key[Array, ""],
    shape: tuple[int, ...],
    *,
    dim: int,
    tail: Scalar = 0.0,
    stretch: tuple[Scalar, Scalar] = (2.5, 3.0),
) -> Float[Array, "*shape D"]:
  """N(0, I); a share `tail` is stretched to where nothing was labelled."""
  keys = split_named(key, "items", "tail", "stretch")
  x = jax.random.normal(keys["items"], (*shape, dim))
  far = jax.random.bernoulli(keys["tail"], tail, shape)
  low, high = stretch
  factor = jax.random.uniform(
      keys["stretch"], shape, minval=low, maxval=high
  )
  return x * jnp.where(far, factor, 1.0)[..., None]


def compare(
    key: Key[Array, ""],
    gold: Gold,
    *,
    num_pairs: int,
    rates: NoiseRates = _EXACT,
    sharpness: Scalar | None = None,
    spurious: Scalar | None = None,
    mean: Float[Array, " D"] | None = None,
) -> Pairs:
  """Labelled pairs of N(mean, I), the labels flipped at `rates`.

  Args:
    key: consumed.
    gold: what is true.
    num_pairs: N (static).
    rates: numbers or `[N]`, of `label` given `truth`.
    sharpness: the truth is drawn from sigmoid(sharpness gap); None: the
      better item wins.
    spurious: adds a last coordinate, N(0, 1) and higher by this much in the
      item that is *labelled* better; None adds none.
    mean: of the items; None: 0.
  """
  keys = split_named(key, "items", "truth", "flips", "spurious")
  dim = gold.kernel.shape[0]
  items = jax.random.normal(keys["items"], (2, num_pairs, dim))
  if mean is not None:
    items += mean[None, None]
  gap = value(gold, items[0]) - value(gold, items[1])
  won = gap > 0
  if sharpness is not None:
    won = jax.random.bernoulli(keys["truth"], jax.nn.sigmoid(sharpness * gap))
  label = channels.flip_binary(keys["flips"], won, rates)
  label = label.astype(jnp.float32)
  if spurious is not None:
    extra = jax.random.normal(keys["spurious"], (2, num_pairs))
    extra += spurious * jnp.stack([label, 1 - label])
    items = jnp.concatenate([items, extra[..., None]], axis=-1)
  return Pairs(*items, label, won.astype(jnp.float32), gap)


def levels(
    rewards: Float[Array, "*batch"], *, num_levels: int
) -> Int[Array, "*batch"]:
  """Quality 0 .. num_levels - 1: equal shares of a standard normal reward."""
  share = jnp.arange(1, num_levels) / num_levels
  edges = jax.scipy.special.ndtri(share)
  return jnp.searchsorted(edges, rewards).astype(jnp.int32)


def ratings(
    key: Key[Array, ""],
    rewards: Float[Array, "*batch"],
    *,
    noise: Scalar = 0.5,
    highest: int = 4,
) -> Float[Array, "*batch"]:
  """Noisy integer ratings 0 .. `highest`, their middle at reward 0."""
  noisy = rewards + noise * jax.random.normal(key, rewards.shape)
  return jnp.clip(jnp.round(noisy + highest / 2), 0, highest)


def strengths(
    key: Key[Array, ""],
    gaps: Float[Array, "*batch"],
    *,
    noise: Scalar = 0.5,
    edges: tuple[float, ...] = (0.7, 1.6),
) -> Float[Array, "*batch"]:
  """How strong a preference is said to be: 1 .. len(edges) + 1."""
  noisy = jnp.abs(gaps + noise * jax.random.normal(key, gaps.shape))
  return 1.0 + jnp.searchsorted(jnp.asarray(edges), noisy)


def outcomes(
    gaps: Float[Array, "*batch"], *, tie_width: Scalar
) -> Int[Array, "*batch"]:
  """1, -1, or 0 where the true gap is within `tie_width`."""
  decided = jnp.abs(gaps) > tie_width
  return jnp.where(decided, jnp.sign(gaps), 0).astype(jnp.int32)


def accuracy(
    scores: Any, gaps: Float[Array, "*batch"]
) -> Float[Array, ""]:
  """Share of pairs whose score difference has the sign of the true gap."""
  return jnp.mean((scores > 0) == (gaps > 0))
