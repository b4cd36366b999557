"""What the studies of small transformers share: learning to imitate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import probability, reduction
from rewardjax.models import transformer
from rewardjax.models.transformer import Transformer


class Rows(NamedTuple):
  """Prompts without padding and what is to be written after them."""

  prompts: Int[Array, "*batch P"]
  tokens: Int[Array, "*batch T"]
  mask: Bool[Array, "*batch T"]


def start(key: Key[Array, ""], model: Transformer) -> PyTree:
  """Fresh parameters; `key` is consumed."""
  token = jnp.zeros((1, 1), int)
  return model.init(key, token, token == 0)["params"]


def token_log_probs(
    model: Transformer,
    params: PyTree,
    prompts: Int[Array, "B P"],
    tokens: Int[Array, "B G T"],
    mask: Bool[Array, "B G T"],
) -> Float[Array, "B G T"]:
  """Of completions of prompts without padding."""
  found = transformer.completion_features(
      model, params, prompts, jnp.ones(prompts.shape, bool), tokens, mask
  )
  logits = transformer.logits(model, params, found)
  return probability.token_log_probs(logits, tokens)


def imitation_loss(
    model: Transformer, params: PyTree, rows: Rows
) -> Float[Array, ""]:
  """Nats per real token that follows a prompt."""
  tokens, mask = rows.tokens[:, None], rows.mask[:, None]
  log_probs = token_log_probs(model, params, rows.prompts, tokens, mask)
  return reduction.token_mean(-log_probs, mask).value


def imitate(
    key: Key[Array, ""],
    model: Transformer,
    rows: Rows,
    *,
    learning_rate: float,
) -> PyTree:
  """A fresh model after one Adam step a batch, its rate falling to a tenth.

  Args:
    key: consumed.
    model: static.
    rows: batches `[S, B, ...]`, one after the other.
    learning_rate: of the first step.
  """
  num_steps = rows.mask.shape[0]
  optimizer = optax.adam(
      optax.cosine_decay_schedule(learning_rate, num_steps, 0.1)
  )

  def step(carry, batch):
    params, moments = carry
    slope = jax.grad(lambda x: imitation_loss(model, x, batch))(params)
    updates, moments = optimizer.update(slope, moments)
    return (optax.apply_updates(params, updates), moments), None

  params = start(key, model)
  carry = params, optimizer.init(params)
  return jax.lax.scan(step, carry, rows)[0][0]
