"""Steps, answers and several rewards for the batch of `batches`, in NumPy."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from tests.recipes import batches

NUM_STEPS, ANSWER = 3, 4


class Extra(NamedTuple):
  """Arrays `[B, G, ..]`; masked entries hold 0."""

  step_ids: np.ndarray
  step_rewards: np.ndarray
  step_mask: np.ndarray
  labels: np.ndarray
  process_log_probs: np.ndarray
  answer_log_probs: np.ndarray
  answer_mask: np.ndarray
  answers: np.ndarray
  components: np.ndarray
  component_mask: np.ndarray


def make(batch: batches.Batch, seed: int = 5) -> Extra:
  """Steps of two tokens each; a sample has as many as its tokens fill."""
  random = np.random.default_rng(seed)
  shape = batch.mask.shape
  groups = shape[:2]
  step_ids = np.broadcast_to(np.arange(shape[2]) // 2, shape)
  step_mask = np.stack(
      [np.any((step_ids == k) & batch.mask, -1) for k in range(NUM_STEPS)], -1
  )
  component_mask = random.random((*groups, 2)) < 0.8
  component_mask[..., 0] |= batch.valid
  return Extra(
      step_ids=step_ids,
      step_rewards=random.random((*groups, NUM_STEPS)),
      step_mask=step_mask,
      labels=random.random((*groups, NUM_STEPS)) < 0.5,
      process_log_probs=batch.behavior + random.normal(size=shape),
      answer_log_probs=-random.random((*groups, ANSWER)) - 0.1,
      answer_mask=random.random((*groups, ANSWER)) < 0.7,
      answers=random.integers(-1, 3, groups),
      components=random.normal(size=(*groups, 2)) * [1.0, 50.0],
      component_mask=component_mask & batch.valid[..., None],
  )


def poison(extra: Extra, batch: batches.Batch, value: float = np.nan) -> Extra:
  """Replaces what must not be read."""
  hide = lambda mask, x: np.where(mask, x, value)
  valid = batch.valid[..., None]
  return extra._replace(
      step_rewards=hide(extra.step_mask & valid, extra.step_rewards),
      process_log_probs=hide(batch.counted, extra.process_log_probs),
      answer_log_probs=hide(extra.answer_mask & valid, extra.answer_log_probs),
      components=hide(extra.component_mask, extra.components),
  )


def arrays(extra: Extra, *names: str) -> dict:
  return {name: jnp.asarray(getattr(extra, name)) for name in names}
