"""Rewards of segments against their sum at the end."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import tokens
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import placement, temporal
from rewardjax.rewards.steps import segment_values

_ARMS = ("at the end", "segments")
# What a segment is worth: right, with an error of the kind, not applicable.
_WORTH = (1.0, -1.0, 0.0)


def _rewards(rows, segment, sure):
  """Rewards of tokens `[N, T]`: three kinds of errors, judged per segment.

  The judge of a kind says with logit `sure` whether a segment holds its bad
  token; it has nothing to say of a segment of style alone.
  """
  parts = rows.reshape(rows.shape[0], -1, segment)
  style = jnp.all(parts >= tokens.STYLE[0], axis=-1)
  kinds = jnp.array(tokens.BAD)
  wrong = jnp.any(parts[:, None] == kinds[None, :, None, None], axis=-1)
  silent = jnp.broadcast_to(style[:, None], wrong.shape)
  said = jnp.stack([~wrong & ~silent, wrong, ~wrong & silent], axis=-1)
  scores = segment_values(sure * said.astype(float), jnp.array(_WORTH))
  ends = jnp.arange(segment - 1, rows.shape[1], segment)
  ends = jnp.broadcast_to(ends[None], parts.shape[:2])
  return placement.segment_to_token_rewards(
      scores, ends, weights=jnp.ones(3), num_tokens=rows.shape[1]
  )


def fgaif(
    *, seed, num_seeds, num_samples, length, segment, sure, num_steps,
    learning_rate, ratio, better_seeds,
) -> Study:
  """REINFORCE on texts: rewards where segments end, or their sum at the end.

  Both arms see equal samples with baselines of the batch's mean per token.
  """
  mask = jnp.ones((num_samples, length), bool)
  start = jnp.zeros((length, tokens.VOCAB_SIZE))

  def returns(rows, which):
    rewards = _rewards(rows, segment, sure)
    late = placement.place_last(jnp.sum(rewards, axis=-1), mask)
    rewards = jnp.where(which == 1, rewards, late)
    return temporal.reward_to_go(rewards, mask, discount=1.0)

  def slopes(logits, rows, which):
    """The gradient of every sample `[N, T, V]`."""
    found = returns(rows, which)
    advantages = found - jnp.mean(found, axis=0, keepdims=True)
    taken = jax.nn.one_hot(rows, tokens.VOCAB_SIZE)
    return advantages[..., None] * (taken - jax.nn.softmax(logits)[None])

  def run(key, which):
    def step(logits, key):
      rows = jax.random.categorical(
          key, logits[None], shape=(num_samples, length)
      )
      each = slopes(logits, rows, which)
      gold = jnp.mean(tokens.gold(tokens.Texts(rows, mask)))
      logits = logits + learning_rate * jnp.mean(each, axis=0)
      return logits, (gold, jnp.sum(jnp.var(each, axis=0)))

    return jax.lax.scan(step, start, jax.random.split(key, num_steps))[1]

  both = jax.vmap(jax.vmap(run, (None, 0)), (0, None))
  gold, spread = map(np.asarray, jax.jit(both)(
      seed_keys(seed, num_seeds), jnp.arange(len(_ARMS))
  ))
  share = spread[:, 1, 0] / spread[:, 0, 0]
  middle = gold[:, :, num_steps // 2]
  ahead = np.sum(middle[:, 1] > middle[:, 0])
  lines = {name: gold[:, i] for i, name in enumerate(_ARMS)}
  return Study(
      "FGAIF: rewards of segments where they end",
      f"Variance of the first gradient below {ratio:g} of that with the sum "
      f"at the end; more gold half way in {better_seeds} of {num_seeds} seeds",
      bool(np.mean(share) < ratio and ahead >= better_seeds),
      [
          mean_row("segments", "share of the gradient's variance", share),
          *(mean_row(n, "gold half way", middle[:, i])
            for i, n in enumerate(_ARMS)),
          *(mean_row(n, "gold at the end", x[:, -1])
            for n, x in lines.items()),
      ],
      {"gold": Curves(np.arange(1, num_steps + 1), lines, "step", "gold")},
  )
