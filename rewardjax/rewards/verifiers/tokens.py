"""Verifiers on token ids, pure and jittable.

A completion is what its mask marks before the first stop token. One that
was cut off by the length limit never said that it was finished: it earns
`on_truncated`, whatever its tokens are. A row with no real token at all was
never sampled and is invalid.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks
from rewardjax.types import Reward

# A score, or "invalid": the reward is unknown and takes no part in training.
Policy = float | int | Literal["invalid"]


def is_stop(
    tokens: Int[Array, "*shape"], stop_tokens: tuple[int, ...]
) -> Bool[Array, "*shape"]:
  """True where a token is one of the (static) `stop_tokens`."""
  return jnp.isin(tokens, jnp.array(stop_tokens, tokens.dtype))


def content_mask(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    stop_tokens: tuple[int, ...],
) -> Bool[Array, "*batch T"]:
  """True on real tokens before the first real stop token."""
  stops = mask & is_stop(tokens, stop_tokens)
  return mask & (jnp.cumsum(stops, axis=-1) == 0)


def exact_match(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    truncated: Bool[Array, "*batch"],
    references: Int[Array, "*#batch R"],
    reference_mask: Bool[Array, "*#batch R"],
    *,
    stop_tokens: tuple[int, ...],
    on_truncated: Policy = 0.0,
) -> Reward:
  """1 where the completion is the reference, token by token; else 0.

  Args:
    tokens: sampled tokens, padded right.
    mask: True on every sampled token, the stop token included.
    truncated: True where the sampler ran out of room.
    references: right answers, padded right, with or without a stop token;
      leading axes broadcast, such as `[B, 1, R]` against `[B, G, T]`.
    reference_mask: True on real tokens of the references.
    stop_tokens: ids that end a text (static).
    on_truncated: score of a truncated completion, or "invalid" to leave it
      out (static).

  Returns:
    Float32 rewards of shape `*batch`; invalid where no token is real.

  Gradient: none; tokens are integers.

  Raises:
    ValueError: if shapes differ, or `on_truncated` is neither a finite
      number nor "invalid".
  """
  where = "tokens.exact_match"
  _check(where, tokens, mask, truncated)
  checks.same_shape(where, references=references, reference_mask=reference_mask)
  length = max(tokens.shape[-1], references.shape[-1])
  said = _pad_to(content_mask(tokens, mask, stop_tokens), length)
  right = _pad_to(content_mask(references, reference_mask, stop_tokens), length)
  equal = _pad_to(tokens, length) == _pad_to(references, length)
  # Where neither is real the tokens are padding and may be anything.
  correct = jnp.all((said == right) & (equal | ~said), axis=-1)
  return _reward(
      where, correct, mask, {"on_truncated": on_truncated}, truncated
  )


def parse_integer(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    digit_tokens: tuple[int, ...],
    minus_token: int,
    stop_tokens: tuple[int, ...],
) -> tuple[Int[Array, "*batch"], Bool[Array, "*batch"]]:
  """Reads completions that are an optional minus and one to nine digits.

  Nine digits always fit in int32; leading zeros count among them.

  Args:
    tokens: sampled tokens, padded right.
    mask: True on every sampled token.
    digit_tokens: the ids of 0 .. 9, in order (static).
    minus_token: id of the sign (static).
    stop_tokens: ids that end a text (static).

  Returns:
    The integers, and whether each was one; 0 where it was not.

  Raises:
    ValueError: unless there are ten digit tokens.
  """
  checks.same_shape("parse_integer", tokens=tokens, mask=mask)
  if len(digit_tokens) != 10:
    raise ValueError(
        f"parse_integer: digit_tokens must be ten ids, got {digit_tokens}."
    )
  content = content_mask(tokens, mask, stop_tokens)
  ids = jnp.array(digit_tokens, tokens.dtype)
  matches = tokens[..., None] == ids.reshape((1,) * tokens.ndim + (10,))
  is_digit = content & jnp.any(matches, axis=-1)
  first = jax.lax.broadcasted_iota(int, tokens.shape, tokens.ndim - 1) == 0
  signed = content & (tokens == minus_token) & first
  after = jnp.cumsum(is_digit[..., ::-1], axis=-1)[..., ::-1] - 1
  count = jnp.sum(is_digit, axis=-1)
  # A mask with a hole is no text; the first column must be real.
  dense = jnp.all(content[..., :-1] >= content[..., 1:], axis=-1)
  parsable = (
      jnp.all(content == (is_digit | signed), axis=-1)
      & dense
      & (count >= 1)
      & (count <= 9)
  )
  weights = 10 ** jnp.clip(after, 0, 8)
  digits = jnp.where(is_digit, jnp.argmax(matches, axis=-1), 0)
  value = jnp.sum(digits * weights, axis=-1).astype(jnp.int32)
  value = jnp.where(jnp.any(signed, axis=-1), -value, value)
  return jnp.where(parsable, value, 0), parsable


def integer_match(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    truncated: Bool[Array, "*batch"],
    references: Int[Array, "*#batch"],
    *,
    digit_tokens: tuple[int, ...],
    minus_token: int,
    stop_tokens: tuple[int, ...],
    on_unparsable: Policy,
    on_truncated: Policy = 0.0,
) -> Reward:
  """1 where the completion is the integer, however it is written; else 0.

  `007` is 7 and `-0` is 0; see `parse_integer` for what is read.

  Args:
    tokens: sampled tokens, padded right.
    mask: True on every sampled token, the stop token included.
    truncated: True where the sampler ran out of room; goes before
      `on_unparsable`.
    references: the right integers; they broadcast to `*batch`.
    digit_tokens: the ids of 0 .. 9, in order (static).
    minus_token: id of the sign (static).
    stop_tokens: ids that end a text (static).
    on_unparsable: score where no integer is read, or "invalid" (static).
    on_truncated: score of a truncated completion, or "invalid" (static).

  Returns:
    Float32 rewards of shape `*batch`; invalid where no token is real.

  Gradient: none; tokens are integers.

  Raises:
    ValueError: if shapes differ, or a policy is neither a finite number nor
      "invalid".
  """
  where = "tokens.integer_match"
  _check(where, tokens, mask, truncated)
  checks.broadcasts_to(where, truncated.shape, references=references)
  value, parsable = parse_integer(
      tokens,
      mask,
      digit_tokens=digit_tokens,
      minus_token=minus_token,
      stop_tokens=stop_tokens,
  )
  policies = {"on_unparsable": on_unparsable, "on_truncated": on_truncated}
  correct = value == references
  return _reward(where, correct, mask, policies, ~parsable, truncated)


def _check(where: str, tokens: Array, mask: Array, truncated: Array) -> None:
  checks.same_shape(where, tokens=tokens, mask=mask)
  if truncated.shape != tokens.shape[:-1]:
    raise ValueError(
        f"{where}: truncated must have shape {tokens.shape[:-1]}, got "
        f"{truncated.shape}."
    )


def _pad_to(x: Array, length: int) -> Array:
  pad = [(0, 0)] * (x.ndim - 1) + [(0, length - x.shape[-1])]
  return jnp.pad(x, pad)


def _reward(
    where: str,
    correct: Bool[Array, "*batch"],
    mask: Bool[Array, "*batch T"],
    policies: dict[str, Policy],
    *cases: Bool[Array, "*batch"],
) -> Reward:
  """Applies one policy per case, a later one over an earlier one."""
  value: Float[Array, "*batch"] = correct.astype(jnp.float32)
  valid = jnp.ones(correct.shape, bool)
  for (name, policy), case in zip(policies.items(), cases, strict=True):
    invalid = policy == "invalid"
    score = 0.0 if invalid else policy
    checks.within(where, low_open=True, high_open=True, **{name: score})
    if isinstance(score, str):
      raise ValueError(
          f'{where}: {name} must be a number or "invalid", got {policy!r}.'
      )
    value = jnp.where(case, score, value)
    valid = jnp.where(case, not invalid, valid)
  return Reward(value, valid & jnp.any(mask, axis=-1))
