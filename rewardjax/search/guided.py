"""Decoding that a reward steers, token by token."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Mixing = Literal["logit", "probability"]
# (tokens [N, L], number of real ones) -> logits [N, V] of the next token.
NextLogits = Callable[[Array, Array], Array]
# (tokens [N, L], number of real ones) -> reward [N] of the beginning.
PrefixReward = Callable[[Array, Array], Array]


def guided_logits(
    log_probs: Float[Array, "*batch K"],
    rewards: Float[Array, "*batch K"],
    *,
    strength: Scalar,
    sign: int = 1,
    mixing: Mixing = "logit",
) -> Float[Array, "*batch K"]:
  """Logits of the law that K candidates are drawn from.

      logit:        log q + strength sign r
      probability:  strength (softmax(strength sign r) + softmax(strength q))

  The first tilts the base and is it at strength 0; the second, with strength
  = 1 / temperature, is the released rule: a softmax of probabilities, nearly
  flat whatever the rewards say.

  Args:
    log_probs: log q of the candidates under the base, in nats.
    rewards: r of the text with each.
    strength: >= 0, per reward unit.
    sign: -1 looks for low rewards.
    mixing: static.

  Returns:
    Unnormalised, float32 or wider.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ, or `sign` or `mixing` is unknown.

  References:
    "Reward Models Can Improve Themselves: Reward-Guided Adversarial Failure
      Mode Discovery for Robust Reward Modeling" (REFORM).
  """
  where = "guided_logits"
  checks.one_of(where, get_args(Mixing), mixing=mixing)
  checks.same_shape(where, log_probs=log_probs, rewards=rewards)
  if sign not in (1, -1):
    raise ValueError(f"{where}: sign must be 1 or -1, got {sign!r}.")
  log_probs, rewards = map(masking.as_accumulator, (log_probs, rewards))
  pull = strength * sign * rewards
  if mixing == "logit":
    return log_probs + pull
  base = jax.nn.softmax(strength * jnp.exp(log_probs), axis=-1)
  return strength * (jax.nn.softmax(pull, axis=-1) + base)


class Guided(NamedTuple):
  """Texts with what was drawn behind their prefix; True in `mask`.

  A stop token is drawn and counts; what follows it is padding.
  """

  tokens: Int[Array, "B L"]
  mask: Bool[Array, "B L"]


def reward_guided_decode(
    key: Key[Array, ""],
    logits_fn: NextLogits,
    reward_fn: PrefixReward,
    prefix: Int[Array, "B P"],
    *,
    num_candidates: int,
    max_new_tokens: int,
    strength: Scalar,
    sign: int = 1,
    mixing: Mixing = "logit",
    stop_tokens: tuple[int, ...] = (),
    pad_token: int = 0,
) -> Guided:
  """Draws each token among the likeliest K, tilted by the reward of each.

  With one candidate it is greedy decoding, at strength 0 the base restricted
  to its K likeliest tokens. The reward is that of a beginning: a model that
  was trained on whole texts may know nothing of it. With many candidates the
  text can leave what the base would say: check its class before training on
  it.

  Args:
    key: consumed.
    logits_fn: of the base, see `NextLogits`; entries behind the real ones are
      padding.
    reward_fn: see `PrefixReward`; called with K continuations of each row.
    prefix: token ids without padding.
    num_candidates: K (static).
    max_new_tokens: tokens drawn at most (static).
    strength: of `guided_logits`.
    sign: -1 looks for low rewards.
    mixing: of `guided_logits` (static).
    stop_tokens: end a text (static).
    pad_token: what stands behind an end.

  Raises:
    ValueError: if a size is less than 1; as `guided_logits`.

  References: as `guided_logits`.
  """
  checks.at_least(
      "reward_guided_decode",
      1,
      num_candidates=num_candidates,
      max_new_tokens=max_new_tokens,
  )
  batch, start = prefix.shape
  room = jnp.full((batch, max_new_tokens), pad_token, prefix.dtype)
  tokens = jnp.concatenate([prefix, room], axis=-1)

  def turn(carry, t):
    tokens, done = carry
    log_probs = jax.nn.log_softmax(
        masking.as_accumulator(logits_fn(tokens, t)), axis=-1
    )
    log_probs, candidates = jax.lax.top_k(log_probs, num_candidates)
    grown = jnp.repeat(tokens, num_candidates, axis=0)
    grown = grown.at[:, t].set(candidates.reshape(-1).astype(tokens.dtype))
    rewards = reward_fn(grown, t + 1).reshape(candidates.shape)
    logits = guided_logits(
        log_probs, rewards, strength=strength, sign=sign, mixing=mixing
    )
    chosen = jax.random.categorical(jax.random.fold_in(key, t), logits)
    drawn = jnp.take_along_axis(candidates, chosen[:, None], axis=1)[:, 0]
    drawn = jnp.where(done, pad_token, drawn).astype(tokens.dtype)
    stops = jnp.isin(drawn, jnp.array(stop_tokens, tokens.dtype))
    return (tokens.at[:, t].set(drawn), done | stops), ~done

  places = jnp.arange(start, start + max_new_tokens)
  carry = (tokens, jnp.zeros(batch, bool))
  (tokens, _), drawn = jax.lax.scan(turn, carry, places)
  before = jnp.zeros(prefix.shape, bool)
  return Guided(tokens, jnp.concatenate([before, drawn.T], axis=-1))
