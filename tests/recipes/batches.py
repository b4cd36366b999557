"""One small batch with everything that goes wrong in it, in NumPy float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.types import Reward, Rollouts


class Batch(NamedTuple):
  """Arrays `[B, G, T]` and `[B, G]`; masked entries hold 0."""

  log_probs: np.ndarray
  behavior: np.ndarray
  reference: np.ndarray
  values: np.ndarray
  behavior_values: np.ndarray
  mask: np.ndarray
  rewards: np.ndarray
  valid: np.ndarray
  truncated: np.ndarray
  bootstrap: np.ndarray

  @property
  def counted(self) -> np.ndarray:
    """Tokens of samples whose reward is known."""
    return self.mask & self.valid[..., None]

  @property
  def token_rewards(self) -> np.ndarray:
    """Logits of both signs."""
    return 4 * self.values - 2

  @property
  def kept(self) -> np.ndarray:
    """All samples but two, one right and one wrong."""
    kept = np.ones(self.valid.shape, bool)
    kept[0, 0] = kept[0, 1] = False
    return kept


def make(seed: int = 0) -> Batch:
  """Four groups: mixed, equal rewards, one valid sample, graded rewards.

  Lengths run from 1 to 6; one sample has an observation in its middle.
  """
  random = np.random.default_rng(seed)
  shape = (4, 4, 6)
  lengths = random.integers(2, 7, shape[:2])
  lengths[0, 0], lengths[0, 1] = 1, 6
  mask = np.arange(6) < lengths[..., None]
  mask[0, 1, 2] = False
  behavior = -random.random(shape) - 0.1
  rewards = np.array(
      [
          [1.0, 0.0, 0.0, 1.0],
          [1.0, 1.0, 1.0, 1.0],
          [1.0, 0.0, 0.0, 0.0],
          [0.2, 0.4, 0.9, 0.5],
      ]
  )
  valid = np.ones(shape[:2], bool)
  valid[0, 3] = valid[2, 1] = valid[2, 2] = valid[2, 3] = False
  return Batch(
      log_probs=behavior + random.normal(size=shape) * 0.3,
      behavior=behavior,
      reference=behavior + random.normal(size=shape) * 0.4,
      values=random.random(shape),
      behavior_values=random.random(shape),
      mask=mask,
      rewards=rewards,
      valid=valid,
      truncated=lengths == 6,
      bootstrap=random.random(shape[:2]),
  )


def poison(batch: Batch, value: float = np.nan) -> Batch:
  """Replaces everything that must not be read."""
  token = lambda x: np.where(batch.counted, x, value)
  return batch._replace(
      log_probs=token(batch.log_probs),
      behavior=token(batch.behavior),
      reference=token(batch.reference),
      values=token(batch.values),
      behavior_values=token(batch.behavior_values),
      rewards=np.where(batch.valid, batch.rewards, value),
      bootstrap=np.where(batch.truncated, batch.bootstrap, value),
  )


def traps(batch: Batch) -> list[Batch]:
  """Poisoned by 0, NaN and infinity; and by NaN with nothing valid."""
  nothing = batch._replace(valid=np.zeros_like(batch.valid))
  values = (0.0, np.nan, np.inf)
  return [poison(batch, value) for value in values] + [poison(nothing)]


def eagerly(call, rows):
  """Of `call(row) -> (loss, metrics)`: (value, loss, metrics), and the slopes.

  A row each; slopes in every float of the row, shaped like it.
  Eagerly: compiled code can turn nan * 0 into 0 and hide a leak. All rows at
  once: one pass over the operations, leading axes are the rows.
  """
  stacked = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *rows)
  leaves, tree = jax.tree.flatten(stacked)
  floating = [jnp.issubdtype(x.dtype, jnp.floating) for x in leaves]

  def row(leaves):
    def value(floats):
      pairs = zip(floats, leaves)
      out = call(tree.unflatten(y if x is None else x for x, y in pairs))
      return out[0].value, out

    floats = [x if kept else None for x, kept in zip(leaves, floating)]
    (loss, out), slopes = jax.value_and_grad(value, has_aux=True)(floats)
    return (loss, *out), tree.unflatten(slopes)

  return jax.device_get(jax.vmap(row)(leaves))


def rollouts(batch: Batch) -> Rollouts:
  b = batch.mask.shape[0]
  return Rollouts(
      prompts=jnp.zeros((b, 2), int),
      prompt_mask=jnp.ones((b, 2), bool),
      tokens=jnp.zeros(batch.mask.shape, int),
      mask=jnp.asarray(batch.mask),
      log_probs=jnp.asarray(batch.behavior),
      truncated=jnp.asarray(batch.truncated),
  )


def reward(batch: Batch) -> Reward:
  return Reward(jnp.asarray(batch.rewards), jnp.asarray(batch.valid))


def take(tree, rows):
  """Single samples as groups of one, `[len(rows), 1, ...]`."""
  rows = jnp.asarray(rows)
  flat = lambda x: jnp.asarray(x).reshape(-1, *x.shape[2:])
  return jax.tree.map(lambda x: flat(x)[rows][:, None], tree)


def take_rollouts(batch: Batch, rows) -> Rollouts:
  """The rollouts of some samples, each a group of its own."""
  whole = rollouts(batch)
  samples = whole._replace(prompts=None, prompt_mask=None)
  prompts = jnp.zeros((len(rows), 2), int)
  return take(samples, rows)._replace(prompts=prompts, prompt_mask=prompts == 0)
