"""Sampling G episodes from each prompt: a world answers between the turns.

    prompt | action | observation | action | observation ...

A turn is one token of the policy and W tokens of the world. Both are read
through the decoder's cache; only actions are the policy's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import checks, mapping
from rewardjax.policies import decoding, laws
from rewardjax.policies.laws import SamplingLaw
from rewardjax.types import Rollouts


class Responder(NamedTuple):
  """A world as pure functions of one episode; its state is any pytree.

  step: (key, state, token) -> state; a token that is no action does nothing.
  observe: state -> tokens [W], as many in every state.
  is_done: state -> whether the episode is over.
  """

  step: Callable
  observe: Callable
  is_done: Callable


class _State(NamedTuple):
  index: Int[Array, ""]  # turns taken so far
  world: PyTree  # [N, ...]
  said: Int[Array, "N S"]  # the last turn: an action and what it led to
  done: Bool[Array, " N"]
  tokens: Int[Array, "N T"]
  mask: Bool[Array, "N T"]
  real: Bool[Array, "N T"]
  log_probs: Float[Array, "N T"]
  cache: Any


def sample(
    key: Key[Array, ""],
    decoder: Any,
    params: PyTree,
    prompts: Int[Array, "B P"],
    prompt_mask: Bool[Array, "B P"],
    states: PyTree,
    responder: Any,
    *,
    num_samples: int,
    num_turns: int,
    law: SamplingLaw = laws.PLAIN,
    pad_token: int = 0,
    prompt_ids: Int[Array, " B"] | None = None,
) -> Rollouts:
  """Plays `num_samples` episodes from each prompt, with their log-probs.

  A prompt is read once for all of its episodes. The loop ends when every
  episode is over (under `vmap`: of every member).

  Args:
    key: consumed. Turn k of sample g of a prompt depends on the key, the
      prompt's id, g and k only, not on the batch around it.
    decoder: see `decoding.Decoder`; its `step` must read several tokens.
    params: passed to the decoder.
    prompts: token ids, padded left.
    prompt_mask: True on real tokens.
    states: of the world where each prompt's episodes start, `[B, ...]`.
    responder: a `Responder`, or anything else with its functions (static).
    num_samples: G, episodes per prompt (static).
    num_turns: K, turns per episode at most (static).
    law: the distribution that is drawn from, and of `log_probs`.
    pad_token: what stands after the end.
    prompt_ids: global example ids; None numbers the rows 0 .. B-1.

  Returns:
    `Rollouts` of T = K (1 + W) tokens: `mask` is True on actions, `real` on
    observations too; episodes that ran out of turns are `truncated`.

  Raises:
    ValueError: if a size is not positive or the law makes no sense.
  """
  checks.at_least("sample", 1, num_samples=num_samples, num_turns=num_turns)
  laws.check("sample", law)
  batch, prompt_len = prompts.shape
  ids = jnp.arange(batch) if prompt_ids is None else prompt_ids
  keys = decoding.sample_keys(key, ids, num_samples)
  greedy = laws.is_greedy(law)
  uniforms = None if greedy else decoding.draw_uniforms(keys, num_turns)
  repeat = lambda x: jnp.repeat(x, num_samples, axis=0)
  worlds = jax.tree.map(repeat, states)
  width = 1 + jax.eval_shape(jax.vmap(responder.observe), worlds).shape[1]
  logits, cache = decoder.prefill(
      params, prompts, prompt_mask, prompt_len + num_turns * width
  )
  logits, cache = repeat(logits), decoder.repeat(cache, num_samples)

  def record(state, logits):
    token, log_prob = decoding.draw(uniforms, logits, state.index, law)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    world_keys = fold(keys, num_turns + state.index)
    return _turn(state, responder, world_keys, token, log_prob, pad_token)

  def advance(state):
    logits, cache = decoder.step(params, state.said, state.cache)
    return record(state._replace(cache=cache), logits)

  def go_on(state):
    more = mapping.any_mapped(jnp.any(~state.done))
    return (state.index < num_turns) & more

  empty = jnp.full(
      (batch * num_samples, num_turns * width), pad_token, prompts.dtype
  )
  wide = jnp.promote_types(logits.dtype, jnp.float32)
  first = _start(responder, worlds, empty, width, wide, cache)
  last = jax.lax.while_loop(go_on, advance, record(first, logits))
  group = lambda x: x.reshape(batch, num_samples, *x.shape[1:])
  return Rollouts(
      prompts,
      prompt_mask,
      group(last.tokens),
      group(last.mask),
      group(last.log_probs),
      group(~last.done),
      group(last.real),
  )


def _start(responder, worlds, tokens, width, dtype, cache):
  """The state before the first turn; `tokens` `[N, T]` are padding."""
  nothing = jnp.zeros(tokens.shape, bool)
  return _State(
      jnp.zeros((), jnp.int32),
      worlds,
      tokens[:, :width],
      jax.vmap(responder.is_done)(worlds),
      tokens,
      nothing,
      nothing,
      jnp.zeros(tokens.shape, dtype),
      cache,
  )


def _turn(state, responder, keys, token, log_prob, pad_token):
  """Writes an action and what it led to; who is done gets padding."""
  alive = ~state.done
  rows = lambda x: alive.reshape((-1,) + (1,) * (x.ndim - 1))
  after = jax.vmap(responder.step)(keys, state.world, token)
  # A world that is over stays as it is.
  world = jax.tree.map(
      lambda a, b: jnp.where(rows(a), a, b), after, state.world
  )
  seen = jax.vmap(responder.observe)(world)
  said = jnp.concatenate([token[:, None], seen], axis=1)
  said = jnp.where(alive[:, None], said, pad_token)
  first = jnp.arange(said.shape[1])[None] == 0
  own, at = first & alive[:, None], state.index * said.shape[1]
  write = lambda x, new: jax.lax.dynamic_update_slice_in_dim(
      x, new.astype(x.dtype), at, axis=1
  )
  return state._replace(
      index=state.index + 1,
      world=world,
      said=said.astype(state.tokens.dtype),
      done=state.done | jax.vmap(responder.is_done)(world),
      tokens=write(state.tokens, said),
      mask=write(state.mask, own),
      real=write(state.real, jnp.broadcast_to(alive[:, None], said.shape)),
      log_probs=write(
          state.log_probs, jnp.where(own, log_prob[:, None], 0.0)
      ),
  )
