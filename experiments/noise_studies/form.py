"""A study of the reward of form: a scratch pad that helps, and is paid for.

The function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.noise_studies import networks, tables
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.models import incremental
from rewardjax.models.transformer import Transformer
from rewardjax.noise import channels
from rewardjax.policies import decoding
from rewardjax.recipes import policy_gradient
from rewardjax.rewards import patterns
from rewardjax.types import NoiseRates, Reward

_LENGTH = 6  # of a completion, at most
_ARMS = {
    "true": ("able", 0.0),
    "flipped 0.4": ("able", 0.4),
    "flipped 0.5": ("able", 0.5),
    "form": ("able", None),
    "form, pad of no use": ("unable", None),
}


class Words(NamedTuple):
  """Sums of three digits modulo `base`; tokens and how they are written."""

  base: int

  @property
  def text(self) -> list[str]:
    """How each token is written."""
    return [*map(str, range(self.base)), "first,", "therefore", "=", ""]

  @property
  def stop(self) -> int:
    """The token that ends an answer."""
    return self.base + 3

  def prompts(self, digits):
    """Three digits and an equals sign."""
    mark = np.full((*digits.shape[:-1], 1), self.base + 2)
    return np.concatenate([digits, mark], -1)

  def shown(self, rng, digits, *, pads, able):
    """What is imitated: "first, a+b therefore a+b+c", or a guess.

    `pads` is the share of rows with a scratch pad, whose numbers are right
    if `able`, else drawn like guesses.
    """
    first, therefore = self.base, self.base + 1
    guess = lambda: rng.integers(0, self.base, digits.shape[:-1])
    middle = np.sum(digits[..., :2], -1) % self.base
    last = np.sum(digits, -1) % self.base
    middle, last = (middle, last) if able else (guess(), guess())
    like = lambda token: np.full(middle.shape, token)
    long = [like(first), middle, like(therefore), last, like(self.stop)]
    short = [guess(), like(self.stop), like(0), like(0), like(0)]
    padded = rng.random(middle.shape) < pads
    long, short = np.stack(long, -1), np.stack(short, -1)
    tokens = np.where(padded[..., None], long, short)
    mask = np.arange(5) < np.where(padded, 5, 2)[..., None]
    return networks.Rows(self.prompts(digits), tokens, mask)

  def right(self, rollouts):
    """Whether the last token before the end is the sum."""
    size = jnp.sum(rollouts.mask, -1)
    at = jnp.maximum(size - 2, 0)[..., None]
    last = jnp.take_along_axis(rollouts.tokens, at, -1)[..., 0]
    total = jnp.sum(rollouts.prompts[:, :3], -1, keepdims=True) % self.base
    return (last == total) & ~rollouts.truncated & (size > 1)

  def form(self, tokens, mask):
    """`patterns.reasoning_form` of each row, 0 where no number is read."""
    said = [
        " ".join(self.text[i] for i in row[kept])
        for row, kept in zip(
            tokens.reshape(-1, tokens.shape[-1]), mask.reshape(-1, _LENGTH)
        )
    ]
    found = patterns.reasoning_form([""] * len(said), said, [""] * len(said))
    scores = [x.score or 0.0 for x in found]
    return np.asarray(scores, np.float32).reshape(tokens.shape[:-1])


def _sampler(model, words, num_samples):
  """`(key, params, prompts) -> (rollouts, right)`, over all runs."""

  def sample(key, params, prompts):
    rollouts = decoding.sample(
        key, incremental.decoder(model), params, prompts,
        jnp.ones(prompts.shape, bool), num_samples=num_samples,
        max_new_tokens=_LENGTH, stop_tokens=(words.stop,),
    )
    return rollouts, words.right(rollouts)

  return jax.jit(jax.vmap(sample))


def _learner(model, optimizer):
  """One step of GRPO, over all runs."""

  def learn(params, moments, rollouts, rewards):
    reward = Reward(rewards, jnp.ones(rewards.shape, bool))

    def loss(params):
      log_probs = networks.token_log_probs(
          model, params, rollouts.prompts, rollouts.tokens, rollouts.mask
      )
      return policy_gradient.grpo(log_probs, rollouts, reward)[0].value

    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return optax.apply_updates(params, updates), moments

  return jax.jit(jax.vmap(learn))


def _rewards(key, words, rollouts, right):
  """Of all arms `[A, S, B, G]`: true, flipped by prompt, or of form."""
  paid = []
  flip = jax.jit(functools.partial(channels.flip_binary, per_group=True))
  for i, (_, flips) in enumerate(_ARMS.values()):
    if flips is None:
      paid.append(words.form(rollouts.tokens[i], rollouts.mask[i]))
    else:
      rates = NoiseRates(flips, flips)
      key, flip_key = jax.random.split(key)
      paid.append(flip(flip_key, right[i], rates))
  return np.stack([np.asarray(x, np.float32) for x in paid])


def _bases(words, model, *, seed, num_seeds, pads, imitation):
  """Parameters of a policy per seed: with a useful pad, and without."""
  steps, batch, rate = imitation
  rng = np.random.default_rng(seed)
  learn = jax.jit(jax.vmap(functools.partial(
      networks.imitate, model=model, learning_rate=rate
  )))
  digits = rng.integers(0, words.base, (num_seeds, steps, batch, 3))
  keys = seed_keys(seed, num_seeds)
  return {
      name: learn(keys, rows=jax.tree.map(
          jnp.asarray, words.shown(rng, digits, pads=pads, able=able)
      ))
      for name, able in (("able", True), ("unable", False))
  }


def climb_noisy_rewards_form(
    *, seed, num_seeds, base, model, pads, imitation, num_steps, num_prompts,
    group_size, learning_rate, window, share,
) -> Study:
  """GRPO on sums that are right only after a scratch pad.

  The policy was taught to use the pad in a share `pads` of its answers, and
  to guess otherwise; `imitation` are steps, batch size and learning rate of
  that teaching. Accuracy is that of the samples, in the first step and in
  the last `window` steps.
  """
  words = Words(base)
  model = Transformer(vocab_size=len(words.text), **model)
  bases = _bases(
      words, model, seed=seed, num_seeds=num_seeds, pads=pads,
      imitation=imitation,
  )
  runs = (len(_ARMS), num_seeds)
  flat = lambda x: x.reshape(-1, *x.shape[2:])
  split = lambda x: x.reshape(*runs, *x.shape[1:])
  arms = [bases[name] for name, _ in _ARMS.values()]
  params = jax.tree.map(lambda *x: flat(np.stack(x)), *arms)
  optimizer = optax.adam(learning_rate)
  moments = jax.jit(jax.vmap(optimizer.init))(params)
  sample = _sampler(model, words, group_size)
  learn = _learner(model, optimizer)
  rng = np.random.default_rng(seed)
  lines = []
  for step_key in jax.random.split(jax.random.key(seed), num_steps):
    sample_key, flip_key = jax.random.split(step_key)
    keys = jax.random.split(sample_key, runs[0] * runs[1])
    digits = rng.integers(0, base, (num_seeds, num_prompts, 3))
    prompts = jnp.asarray(np.tile(words.prompts(digits), (runs[0], 1, 1)))
    rollouts, right = jax.device_get(sample(keys, params, prompts))
    lines.append(np.mean(split(right), (2, 3), dtype=np.float32))
    rewards = _rewards(
        flip_key, words, jax.tree.map(split, rollouts), split(right)
    )
    params, moments = learn(params, moments, rollouts, flat(rewards))
  lines = dict(zip(_ARMS, np.stack(lines, -1)))
  return _study(lines, window, share)


def _study(lines, window, share) -> Study:
  before = {name: x[:, 0] for name, x in lines.items()}
  after = {name: np.mean(x[:, -window:], -1) for name, x in lines.items()}
  rows = [mean_row(n, "accuracy before", x) for n, x in before.items()]
  rows += [mean_row(n, "accuracy after", x) for n, x in after.items()]
  gain = {name: np.mean(after[name] - before[name]) for name in lines}
  return Study(
      "The climb: paying for the form of reasoning",
      f"The form alone gains at least {share:g} of what the true reward does",
      bool(gain["true"] > 0 and gain["form"] >= share * gain["true"]),
      rows,
      {"accuracy": tables.curves(lines, "accuracy of samples")},
      f"{NOTE} Accuracy after is the mean of the last {window} steps.",
  )
