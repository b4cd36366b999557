"""A tiny token model with an uneven mask, and data that knows its place."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rewardjax.core.masking import Mean
from rewardjax.training.state import init_state

ROWS, LENGTH, VOCAB, WIDTH, HIDDEN = 16, 5, 8, 8, 16

# Momentum, not Adam, whose first step is the sign of rounding errors.
OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9)
)


def init_params(key):
  """Names that the sharding rules of the transformers know."""
  a, b, c = jax.random.split(key, 3)
  draw = lambda key, *shape: 0.3 * jax.random.normal(key, shape)
  return {
      "embedding": draw(a, VOCAB, WIDTH),
      "mlp": {
          "up": {"kernel": draw(b, WIDTH, HIDDEN)},
          "down": {"kernel": draw(c, HIDDEN, VOCAB)},
      },
  }


@jax.jit
def _init(seed):
  return init_state(init_params(jax.random.key(seed)), OPTIMIZER)


def init(seed=0):
  return _init(seed)


def batch(seed=0, rows=ROWS):
  """Rows of very uneven length; masked features are NaN."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, VOCAB, (rows, LENGTH))
  lengths = rng.integers(0, LENGTH + 1, rows)
  lengths[: rows // 4] = 0  # whole devices and microbatches with nothing
  mask = np.arange(LENGTH) < lengths[:, None]
  features = rng.normal(size=(rows, LENGTH, WIDTH))
  features = np.where(mask[..., None], features, np.nan)
  return {
      "features": features.astype(np.float32),
      "tokens": tokens.astype(np.int32),
      "mask": mask,
  }


def loss_fn(params, batch, key):
  """Cross-entropy per real token, and a metric over fewer of them."""
  del key
  mask = batch["mask"]
  x = jnp.where(mask[..., None], batch["features"], 0.0)
  x = (x + params["embedding"][batch["tokens"]]).astype(
      params["embedding"].dtype
  )
  hidden = jnp.tanh(x @ params["mlp"]["up"]["kernel"])
  logits = (hidden @ params["mlp"]["down"]["kernel"]).astype(jnp.float32)
  log_probs = jax.nn.log_softmax(logits)
  target = (batch["tokens"] + 1) % VOCAB
  chosen = jnp.take_along_axis(log_probs, target[..., None], -1)[..., 0]
  right = (jnp.argmax(logits, -1) == target).astype(jnp.float32)
  return Mean.of(-chosen, mask), {"accuracy": Mean.of(right, mask)}


class Counter:
  """Batches that follow from their number; its state is that number."""

  def __init__(self, make=batch):
    self.index = 0
    self._make = make

  def __next__(self):
    self.index += 1
    return jax.tree.map(np.asarray, self._make(self.index))

  def get_state(self):
    return {"index": self.index}

  def set_state(self, state):
    self.index = state["index"]
