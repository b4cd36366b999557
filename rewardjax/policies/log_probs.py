"""Log-probabilities of given tokens, without the logits of a whole batch.

`score_features` takes features and the unembedding table. The forward pass
goes through chunks of time steps, since a sampling law must see a token's
whole vocabulary; the backward pass goes through blocks of the vocabulary, so
that every row of the table's gradient is written once. Summing the table's
gradient over token chunks was measured slower and needs a second [V, D].
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.policies import laws
from rewardjax.policies.laws import SamplingLaw

# Logits alive at once unless the caller chooses: 32 MiB in float32.
_LOGITS_ALIVE = 2**23
# Fields of a law that may be traced.
_TRACEABLE = ("temperature", "top_p", "min_p")


class TokenScores(NamedTuple):
  """Of each token: its log-probability and its distribution's entropy.

  In nats, under the sampling law, float32 or wider. A token that the law
  excludes has log-probability -inf.
  """

  log_probs: Float[Array, "*batch"]
  entropies: Float[Array, "*batch"]


class _Plan(NamedTuple):
  """What is known while tracing."""

  law: SamplingLaw  # None where the value is traced
  steps: int  # time steps per chunk
  block: int  # tokens of the vocabulary per block


class _Summary(NamedTuple):
  """What the backward pass must know of each token's distribution."""

  cut: Float[Array, "R T"]  # kept tokens score above it
  log_total: Float[Array, "R T"]
  entropies: Float[Array, "R T"]
  inside: Bool[Array, "R T"]  # the law keeps the token


def score_logits(
    logits: Float[Array, "*batch V"],
    tokens: Int[Array, "*batch"],
    *,
    law: SamplingLaw = laws.PLAIN,
) -> TokenScores:
  """Scores tokens from logits that exist: tests, tabular policies.

  Gradient: through the kept logits; see `laws.law_logits`.
  """
  log_p = laws.law_logits(law, logits)
  chosen = jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]
  kept = jnp.isfinite(log_p)
  safe = jnp.where(kept, log_p, 0.0)
  terms = jnp.where(kept, jnp.exp(safe) * safe, 0.0)
  return TokenScores(chosen, -jnp.sum(terms, axis=-1))


def score_features(
    features: Float[Array, "*batch T D"],
    unembedding: Float[Array, "V D"],
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    law: SamplingLaw = laws.PLAIN,
    chunk_size: int | None = None,
) -> TokenScores:
  """Scores tokens under softmax(features @ unembedding.T) and a law.

  Products run in the dtype of `features` and are summed in float32 or wider.

  Args:
    features: at position t, what predicts `tokens[..., t]`.
    unembedding: one row per token; a dense kernel [D, V] is passed as its
      transpose.
    tokens: ids below V wherever `mask` is True.
    mask: True on tokens that count; masked features may hold anything.
    law: of the sampler; its parameters are held constant.
    chunk_size: tokens whose logits exist at once (static); at least one time
      step of every row. None keeps about 8 million logits.

  Returns:
    `TokenScores`, 0 where masked.

  Gradient: to `features` and `unembedding` through both results, the kept
    set being constant; exactly 0 from masked tokens, from log-probs of -inf
    and under a greedy law.

  Raises:
    ValueError: if shapes disagree, `chunk_size` < 1 or the law makes no
      sense.
  """
  _check(features, unembedding, tokens, mask, law, chunk_size)
  if mask is not None:
    features = jnp.where(mask[..., None], features, jnp.zeros_like(features))
    tokens = jnp.where(mask, tokens, 0)
  *batch, length, width = features.shape
  rows = math.prod(batch)
  plan = _make_plan(rows, length, unembedding.shape[0], law, chunk_size)
  wide = jnp.promote_types(features.dtype, jnp.float32)
  log_probs, entropies = _score(
      plan,
      features.reshape(rows, length, width),
      unembedding.astype(features.dtype),
      tokens.reshape(rows, length),
      {k: jnp.asarray(getattr(law, k), wide) for k in _TRACEABLE},
  )
  shape = (*batch, length)
  return TokenScores(
      masking.fill_masked(log_probs.reshape(shape), mask),
      masking.fill_masked(entropies.reshape(shape), mask),
  )


def _check(features, unembedding, tokens, mask, law, chunk_size):
  where = "score_features"
  laws.check(where, law)
  checks.same_shape(where, features=features[..., 0], tokens=tokens, mask=mask)
  if features.shape[-1] != unembedding.shape[-1]:
    raise ValueError(
        f"{where}: unembedding must be [V, D] with D = "
        f"{features.shape[-1]}, got {unembedding.shape}."
    )
  checks.at_least(where, 1, chunk_size=chunk_size)


def _make_plan(rows, length, vocab_size, law, chunk_size):
  """Equal chunks and equal blocks, each at most as large as asked for."""
  alive = chunk_size or max(_LOGITS_ALIVE // vocab_size, 1)
  steps = min(max(alive // max(rows, 1), 1), length)
  block = alive * vocab_size // max(rows * length, 1)
  block = min(max(block, 128), vocab_size)
  known = lambda x: None if isinstance(x, jax.Array) else x
  return _Plan(
      law._replace(**{k: known(getattr(law, k)) for k in _TRACEABLE}),
      _even(length, steps),
      _even(vocab_size, block),
  )


def _even(total, part):
  """The size of the parts when `total` is split as evenly as possible."""
  return -(-total // max(-(-total // max(part, 1)), 1))


def _law(plan, traced):
  """The caller's law, Python numbers where it had Python numbers."""
  missing = {k: v for k, v in traced.items() if getattr(plan.law, k) is None}
  return plan.law._replace(**missing)


def _matmul(x, y, x_axis, y_axis):
  wide = jnp.promote_types(x.dtype, jnp.float32)
  contract = (((x_axis,), (y_axis,)), ((), ()))
  return jax.lax.dot_general(x, y, contract, preferred_element_type=wide)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _score(plan, features, table, tokens, traced):
  return _forward(plan, features, table, tokens, traced)[0]


def _forward(plan, features, table, tokens, traced):
  law = _law(plan, traced)
  rows, length, width = features.shape
  num_chunks = -(-length // plan.steps)
  pad = num_chunks * plan.steps - length
  padded = jnp.pad(features, ((0, 0), (0, pad), (0, 0)))
  padded_tokens = jnp.pad(tokens, ((0, 0), (0, pad)))

  def chunk(carry, start):
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, start, plan.steps, 1)
    flat = take(padded).reshape(rows * plan.steps, width)
    scores = _summarise(
        law, _matmul(flat, table, 1, 1), take(padded_tokens).reshape(-1)
    )
    return carry, jax.tree.map(lambda x: x.reshape(rows, plan.steps), scores)

  starts = jnp.arange(num_chunks) * plan.steps
  _, scores = jax.lax.scan(chunk, None, starts)
  join = lambda x: x.swapaxes(0, 1).reshape(rows, -1)[:, :length]
  log_probs, summary = jax.tree.map(join, scores)
  saved = (features, table, tokens, traced, summary)
  return (log_probs, summary.entropies), saved


def _summarise(law, logits, tokens):
  """Log-probs [M] and `_Summary` of logits [M, V]."""
  pick = lambda x: jnp.take_along_axis(x, tokens[:, None], axis=-1)[:, 0]
  if laws.is_greedy(law):
    inside = jnp.argmax(logits, axis=-1) == tokens
    zero = jnp.zeros(tokens.shape, logits.dtype)
    log_probs = jnp.where(inside, zero, -jnp.inf)
    return log_probs, _Summary(zero, zero, zero, inside)
  scaled = laws.tempered(law, logits)
  least = laws.threshold(law, scaled)
  top = jnp.max(scaled, axis=-1)
  shifted = scaled - top[:, None]
  mass, cut = jnp.exp(shifted), jnp.full_like(top, -jnp.inf)
  inside = jnp.ones(tokens.shape, bool)
  if least is not None:
    kept = scaled >= least[:, None]
    mass = jnp.where(kept, mass, 0.0)
    inside = pick(scaled) >= least
    # Half-way to the next token: the backward pass computes the logits anew
    # and rounds otherwise, which must not move a token across the cut.
    below = jnp.max(jnp.where(kept, -jnp.inf, scaled), axis=-1)
    cut = 0.5 * (least + below)
  total = jnp.sum(mass, axis=-1)
  # Logits of -inf have mass 0.
  product = jnp.where(mass > 0, mass * shifted, 0.0)
  entropies = jnp.log(total) - jnp.sum(product, axis=-1) / total
  log_total = jnp.log(total) + top
  log_probs = jnp.where(inside, pick(scaled) - log_total, -jnp.inf)
  return log_probs, _Summary(cut, log_total, entropies, inside)


def _backward(plan, saved, cotangents):
  features, table, tokens, traced, summary = saved
  constants = (None, jax.tree.map(jnp.zeros_like, traced))
  law = _law(plan, traced)
  if laws.is_greedy(law):
    return jnp.zeros_like(features), jnp.zeros_like(table), *constants
  flat = features.reshape(-1, features.shape[-1])
  tokens = tokens.reshape(-1)
  summary = jax.tree.map(jnp.ravel, summary)
  to_log_prob, to_entropy = (x.reshape(-1) for x in cotangents)
  to_log_prob = jnp.where(summary.inside, to_log_prob, 0.0)

  def block(i, gradients):
    to_features, to_table = gradients
    # The last block is moved back to fit; what it repeats is skipped.
    start = jnp.minimum(i * plan.block, table.shape[0] - plan.block)
    rows = jax.lax.dynamic_slice_in_dim(table, start, plan.block)
    ids = start + jnp.arange(plan.block)
    scaled = laws.tempered(law, _matmul(flat, rows, 1, 1))
    log_p = scaled - summary.log_total[:, None]
    kept = (scaled > summary.cut[:, None]) & (ids >= i * plan.block)[None]
    # Excluded logits could overflow exp, and -inf times 0 is NaN.
    log_p = jnp.where(kept, log_p, -jnp.inf)
    p = jnp.exp(log_p)
    surprise = jnp.where(p > 0, log_p, 0.0) + summary.entropies[:, None]
    to_logits = -p * (to_log_prob[:, None] + to_entropy[:, None] * surprise)
    hit = (tokens[:, None] == ids[None]) & (ids >= i * plan.block)[None]
    to_logits = to_logits + jnp.where(hit, to_log_prob[:, None], 0.0)
    to_logits = laws.tempered(law, to_logits).astype(flat.dtype)
    to_rows = _matmul(to_logits, flat, 0, 0).astype(table.dtype)
    done = jax.lax.dynamic_slice_in_dim(to_table, start, plan.block)
    to_table = jax.lax.dynamic_update_slice_in_dim(
        to_table, done + to_rows, start, 0
    )
    return to_features + _matmul(to_logits, rows, 1, 0), to_table

  wide = jnp.promote_types(flat.dtype, jnp.float32)
  empty = (jnp.zeros(flat.shape, wide), jnp.zeros_like(table))
  num_blocks = -(-table.shape[0] // plan.block)
  to_features, to_table = jax.lax.fori_loop(0, num_blocks, block, empty)
  to_features = to_features.astype(features.dtype).reshape(features.shape)
  return to_features, to_table, *constants


_score.defvjp(_forward, _backward)
