"""Beam search inside a prefix tree: distinct items of a catalogue, by rank.

References:
  "Reinforced Preference Optimization for Recommendation" (ReRe).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rewardjax.core import checks, masking
from rewardjax.search import tries
from rewardjax.search.tries import Trie


class Beams(NamedTuple):
  """N sequences of each prompt, likeliest first.

  tokens, mask: as in `Rollouts`.
  items: which sequence of the tree each is.
  log_probs: of the tokens under the policy as searched with.
  scores: their sums; -inf where the tree holds fewer than N sequences.
  valid: False there; such rows repeat others and mean nothing.
  """

  tokens: Int[Array, "B N T"]
  mask: Bool[Array, "B N T"]
  items: Int[Array, "B N"]
  log_probs: Float[Array, "B N T"]
  scores: Float[Array, "B N"]
  valid: Bool[Array, "B N"]


def constrained_beam_search(
    decoder: Any,
    params: PyTree,
    prompts: Int[Array, "B P"],
    prompt_mask: Bool[Array, "B P"],
    trie: Trie,
    *,
    num_beams: int,
    max_new_tokens: int,
    renormalize: bool = False,
    pad_token: int = 0,
) -> Beams:
  """The N best sequences of the tree, as far as a beam of N can see.

  At every token all continuations of all beams compete; those outside the
  tree do not. Finished sequences compete on with what they have. With as many
  beams as the tree has nodes at any depth the result is exhaustive.

  Args:
    decoder: four functions as of `policies.decoding.Decoder`; `select` must
      take any rows, repeated ones too.
    params: passed to the decoder.
    prompts: token ids, padded left.
    prompt_mask: True on real tokens.
    trie: what may be said.
    num_beams: N (static).
    max_new_tokens: T, the longest sequence of the tree (static).
    renormalize: scores under the policy restricted to allowed tokens, instead
      of its own probabilities (static). The former is what constrained
      sampling draws from.
    pad_token: what stands after an end.

  Raises:
    ValueError: if a size is not positive.
  """
  where = "constrained_beam_search"
  checks.at_least(where, 1, num_beams=num_beams, max_new_tokens=max_new_tokens)
  batch, width = prompts.shape
  logits, cache = decoder.prefill(
      params, prompts, prompt_mask, width + max_new_tokens
  )
  cache = decoder.repeat(cache, num_beams)
  # Once here, so that its layout is the same at every turn of the loop.
  cache = decoder.select(cache, jnp.arange(batch * num_beams))
  logits = jnp.repeat(logits, num_beams, axis=0)
  state = _start(batch, num_beams, max_new_tokens, pad_token, logits)

  def turn(carry, t):
    state, logits, cache = carry
    state, rows = _extend(state, logits, trie, t, renormalize, pad_token)
    last = state.tokens[:, :, t].reshape(-1)
    logits, cache = decoder.step(params, last, decoder.select(cache, rows))
    return (state, masking.as_accumulator(logits), cache), None

  carry = (state, masking.as_accumulator(logits), cache)
  (state, _, _), _ = jax.lax.scan(turn, carry, jnp.arange(max_new_tokens))
  items = jnp.where(
      state.nodes >= 0, trie.item[jnp.maximum(state.nodes, 0)], -1
  )
  valid = jnp.isfinite(state.scores) & (items >= 0)
  return Beams(
      state.tokens, state.mask, items, state.log_probs, state.scores, valid
  )


class _State(NamedTuple):
  tokens: Int[Array, "B N T"]
  mask: Bool[Array, "B N T"]
  log_probs: Float[Array, "B N T"]
  nodes: Int[Array, "B N"]
  scores: Float[Array, "B N"]


def _start(batch, beams, length, pad_token, logits):
  """All beams at the root; only the first counts, the others are copies."""
  dtype = masking.as_accumulator(logits).dtype
  shape = (batch, beams, length)
  first = jnp.arange(beams)[None] == 0
  scores = jnp.where(first, 0.0, -jnp.inf).astype(dtype)
  return _State(
      jnp.full(shape, pad_token, jnp.int32),
      jnp.zeros(shape, bool),
      jnp.zeros(shape, dtype),
      jnp.zeros((batch, beams), jnp.int32),
      jnp.broadcast_to(scores, (batch, beams)),
  )


def _extend(state, logits, trie, t, renormalize, pad_token):
  """The best N continuations, and the cache rows they come from."""
  batch, beams = state.scores.shape
  vocab = trie.children.shape[1]
  fits = tries.allowed(trie, state.nodes)
  logits = logits.reshape(batch, beams, -1)[..., :vocab]
  if renormalize:
    # A row without a continuation keeps finite logits; it is done anyway.
    some = jnp.any(fits, axis=-1, keepdims=True)
    logits = jnp.where(fits | ~some, logits, -jnp.inf)
  log_probs = jax.nn.log_softmax(logits, axis=-1)
  done = (state.nodes >= 0) & (trie.item[jnp.maximum(state.nodes, 0)] >= 0)
  # One more "token", V: to stay as it is. Only finished sequences may.
  grown = jnp.where(fits, state.scores[..., None] + log_probs, -jnp.inf)
  kept = jnp.where(done, state.scores, -jnp.inf)[..., None]
  options = jnp.concatenate([grown, kept], axis=-1)
  scores, chosen = jax.lax.top_k(options.reshape(batch, -1), beams)
  parent, token = chosen // (vocab + 1), chosen % (vocab + 1)
  stays = token == vocab
  token = jnp.where(stays, pad_token, token)
  pick = lambda x: jnp.take_along_axis(
      x, parent.reshape(batch, beams, *[1] * (x.ndim - 2)), axis=1
  )
  gained = jnp.where(stays, 0.0, scores - pick(state.scores))
  gained = jnp.where(jnp.isfinite(scores), gained, 0.0)
  nodes = pick(state.nodes)
  moved = tries.advance(trie, nodes, jnp.minimum(token, vocab - 1))
  write = lambda x, new: pick(x).at[:, :, t].set(new.astype(x.dtype))
  state = _State(
      write(state.tokens, token),
      write(state.mask, ~stays),
      write(state.log_probs, gained),
      jnp.where(stays, nodes, moved),
      scores,
  )
  rows = jnp.arange(batch)[:, None] * beams + parent
  return state, rows.reshape(-1)
