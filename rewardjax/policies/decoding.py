"""Sampling G completions of each prompt in one compiled loop.

The model enters as four functions, so any network with a cache fits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import checks, mapping, random
from rewardjax.policies import constraints, laws
from rewardjax.policies.constraints import TokenConstraint
from rewardjax.policies.laws import SamplingLaw
from rewardjax.types import Rollouts


class Decoder(NamedTuple):
  """A language model as pure functions; `cache` is any pytree.

  prefill: (params, tokens [B, P], mask [B, P], max_len) -> (logits [B, V],
    cache): reads left-padded prompts; logits are those of the next token.
    The cache has room for `max_len` tokens (static).
  repeat: (cache, G) -> cache whose row i is row i // G of the old one.
  step: (params, tokens [N], cache) -> (logits [N, V], cache): reads one more
    token per row. It must update the cache in place (`.at[].set`,
    `dynamic_update_slice`), never rebuild it. For `turns.sample` it reads
    tokens [N, S], S more of each row, as well.
  select: (cache, rows [M]) -> cache of the given rows only. `sample` needs it
    for `halvings`; None if there is none.
  """

  prefill: Callable
  repeat: Callable
  step: Callable
  select: Callable | None = None


class _State(NamedTuple):
  uniforms: Float[Array, "N T 2"] | None  # of each draw; None if greedy
  index: Int[Array, ""]  # tokens drawn so far
  token: Int[Array, " N"]  # the last ones
  done: Bool[Array, " N"]
  tokens: Int[Array, "N T"]
  mask: Bool[Array, "N T"]
  log_probs: Float[Array, "N T"]
  cache: Any
  node: Int[Array, " N"] | None = None  # of the constraint, if there is one


def sample(
    key: Key[Array, ""],
    decoder: Any,
    params: PyTree,
    prompts: Int[Array, "B P"],
    prompt_mask: Bool[Array, "B P"],
    *,
    num_samples: int,
    max_new_tokens: int,
    stop_tokens: tuple[int, ...],
    law: SamplingLaw = laws.PLAIN,
    pad_token: int = 0,
    prompt_ids: Int[Array, " B"] | None = None,
    halvings: int = 0,
    constraint: TokenConstraint | None = None,
) -> Rollouts:
  """Draws `num_samples` completions of each prompt, with their log-probs.

  A prompt is read once for all of its samples. The loop ends when every
  sample has stopped (under `vmap`: every sample of every member).

  Args:
    key: consumed. Draw t of sample g of a prompt depends on the key, the
      prompt's id, g and t only, not on the batch around it.
    decoder: a `Decoder`, or anything else with its four functions.
    params: passed to the decoder.
    prompts: token ids, padded left.
    prompt_mask: True on real tokens.
    num_samples: G, samples per prompt (static).
    max_new_tokens: T, tokens per sample at most (static).
    stop_tokens: a sample ends with the first of these (static); may be empty.
    law: the distribution that is drawn from, and of `log_probs`.
    pad_token: what stands after a stop token.
    prompt_ids: global example ids; None numbers the rows 0 .. B-1.
    halvings: how often the batch may shrink (static): as soon as no more than
      half of its samples go on, they go on as a batch of half the size, so
      that short answers do not pay for the longest. Each compiles the step
      once more. It changes no draw, and log-probs by rounding only.
    constraint: what may be said next (static functions); `law` and
      `log_probs` are then those of the allowed tokens alone, and a sample
      also ends where nothing more is allowed. None allows everything.

  Returns:
    `Rollouts`; `log_probs` are float32 or wider and 0 where masked.

  Raises:
    ValueError: if a size is not positive, the law makes no sense, or
      `halvings` finds no `decoder.select`.
  """
  _check(decoder, halvings)
  checks.at_least("sample", 1, num_samples=num_samples)
  checks.at_least("sample", 1, max_new_tokens=max_new_tokens)
  laws.check("sample", law)
  batch, prompt_len = prompts.shape
  ids = jnp.arange(batch) if prompt_ids is None else prompt_ids
  keys = sample_keys(key, ids, num_samples)
  greedy = laws.is_greedy(law)
  uniforms = None if greedy else draw_uniforms(keys, max_new_tokens)
  logits, cache = decoder.prefill(
      params, prompts, prompt_mask, prompt_len + max_new_tokens
  )
  logits = jnp.repeat(logits, num_samples, axis=0)
  cache = decoder.repeat(cache, num_samples)

  def record(state, logits):
    if constraint is not None:
      fits = constraint.allowed(state.node)
      logits = constraints.restrict(logits, fits)
    token, log_prob = draw(state.uniforms, logits, state.index, law)
    state = _append(state, token, log_prob, stop_tokens, pad_token)
    return state if constraint is None else _advance(state, constraint)

  def advance(state):
    logits, cache = decoder.step(params, state.token, state.cache)
    return record(state._replace(cache=cache), logits)

  empty = jnp.full(
      (batch * num_samples, max_new_tokens), pad_token, prompts.dtype
  )
  wide = jnp.promote_types(logits.dtype, jnp.float32)
  first = _no_tokens(uniforms, empty, wide, cache)
  if constraint is not None:
    node = jnp.full(empty.shape[:1], constraint.start, jnp.int32)
    first = first._replace(node=node)
  first = record(first, logits)
  last = _run(first, advance, decoder, halvings)
  group = lambda x: x.reshape(batch, num_samples, *x.shape[1:])
  return Rollouts(
      prompts,
      prompt_mask,
      group(last.tokens),
      group(last.mask),
      group(last.log_probs),
      group(~last.done),
  )


def _check(decoder, halvings):
  checks.at_least("sample", 0, halvings=halvings)
  if halvings and getattr(decoder, "select", None) is None:
    raise ValueError(
        f"sample: decoder must have `select` for halvings = {halvings}."
    )


def _run(state, advance, decoder, halvings):
  """Advances until every sample has stopped; see `sample`."""
  count, length = state.tokens.shape
  half = count // 2 if halvings else 0

  def go_on(state):
    running = jnp.sum(~state.done)
    return (state.index < length) & mapping.any_mapped(running > half)

  state = jax.lax.while_loop(go_on, advance, state)
  if not half:
    return state
  # Those that run come first; past `length` nothing runs any more.
  rows = jnp.argsort(state.done, stable=True)[:half]
  take = lambda x: x[rows]
  fewer = _run(
      state._replace(
          uniforms=jax.tree.map(take, state.uniforms),
          token=take(state.token),
          done=take(state.done),
          tokens=take(state.tokens),
          mask=take(state.mask),
          log_probs=take(state.log_probs),
          cache=decoder.select(state.cache, rows),
          node=jax.tree.map(take, state.node),
      ),
      advance,
      decoder,
      halvings - 1,
  )
  put = lambda x, y: x.at[rows].set(y)
  return state._replace(
      done=put(state.done, fewer.done),
      tokens=put(state.tokens, fewer.tokens),
      mask=put(state.mask, fewer.mask),
      log_probs=put(state.log_probs, fewer.log_probs),
  )


def sample_keys(key, ids, num_samples):
  """Key of sample g of prompt id: `[B * G]`."""
  per_prompt = random.keys_by_id(key, ids)
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  fold = jax.vmap(fold, in_axes=(0, None))
  return fold(per_prompt, jnp.arange(num_samples)).reshape(-1)


def draw_uniforms(keys, count):
  """Two for each of `count` draws of each sample: `[N, count, 2]`.

  All at once: in the loop, random bits cost more than a small layer.
  """
  pair = lambda key, t: jax.random.uniform(jax.random.fold_in(key, t), (2,))
  pair = jax.vmap(jax.vmap(pair, (None, 0)), (0, None))
  return pair(keys, jnp.arange(count))


def draw(uniforms, logits, index, law):
  """Tokens `[N]` under the law, and their log-probs.

  `uniforms` are those of all draws, None if the law is greedy; `index` says
  which draw this is.
  """
  log_probs = laws.law_logits(law, logits)
  if laws.is_greedy(law):
    token = jnp.argmax(log_probs, axis=-1)
  else:
    now = jax.lax.dynamic_index_in_dim(uniforms, index, 1, keepdims=False)
    token = laws.inverse_cdf(log_probs, now)
  chosen = jnp.take_along_axis(log_probs, token[:, None], axis=-1)
  return token, chosen[:, 0]


def _no_tokens(uniforms, tokens, dtype, cache):
  """The state before the first draw; `tokens` [N, T] are padding."""
  return _State(
      uniforms,
      jnp.zeros((), jnp.int32),
      tokens[:, 0],
      jnp.zeros(tokens.shape[:1], bool),
      tokens,
      jnp.zeros(tokens.shape, bool),
      jnp.zeros(tokens.shape, dtype),
      cache,
  )


def _append(state, token, log_prob, stop_tokens, pad_token):
  """Writes one token per row; rows that have stopped get padding."""
  alive = ~state.done
  token = jnp.where(alive, token, pad_token).astype(state.tokens.dtype)
  write = lambda x, new: jax.lax.dynamic_update_slice_in_dim(
      x, new[:, None], state.index, axis=1
  )
  return state._replace(
      index=state.index + 1,
      token=token,
      done=state.done | _is_in(token, stop_tokens),
      tokens=write(state.tokens, token),
      mask=write(state.mask, alive),
      log_probs=write(state.log_probs, jnp.where(alive, log_prob, 0.0)),
  )


def _advance(state, constraint):
  """The constraint's next state; who may say nothing more has stopped."""
  node = constraint.advance(state.node, state.token)
  ended = ~jnp.any(constraint.allowed(node), axis=-1)
  return state._replace(node=node, done=state.done | ended)


def _is_in(token, stop_tokens):
  stops = jnp.asarray(stop_tokens, token.dtype)
  return jnp.any(token[:, None] == stops[None], axis=-1)
