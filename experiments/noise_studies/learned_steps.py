"""A study of step rewards from a model that was trained on labelled steps.

The function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from experiments.noise_studies import tables
from experiments.noise_studies.steps import (
    REFINED,
    refinement_study,
    refinements,
)
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.core import masking
from rewardjax.core.random import split_named
from rewardjax.models.heads import ValueHead

_RIGHT, _WRONG, _PADDING = range(3)


class _Solutions(NamedTuple):
  """What a reward model sees of solutions, and what it is to say.

  features: of each step.
  kind: right, wrong, or padding, which is correct as well, and useless.
  mask: True on real steps.
  solved: the outcome.
  """

  features: Float[Array, "*batch K D"]
  kind: Int[Array, "*batch K"]
  mask: Bool[Array, "*batch K"]
  solved: Bool[Array, "*batch"]


def write(key, added, centres, *, chance, useful, most) -> _Solutions:
  """Solutions with `added` padding steps before their last one.

  An unsolved one has exactly one wrong step, any of the `useful`. Features
  are Gaussian around the centre of the step's kind.
  """
  keys = split_named(key, "luck", "wrong", "noise")
  luck = jax.random.uniform(keys["luck"], added.shape)
  solved = luck < chance[added]
  at = jnp.arange(useful + most).reshape((1,) * added.ndim + (-1,))
  last = useful - 1 + added[..., None]
  padding = (at >= useful - 1) & (at < last)
  bad = jax.random.randint(keys["wrong"], added.shape, 0, useful)[..., None]
  bad = jnp.where(bad == useful - 1, last, bad)
  wrong = (at == bad) & ~solved[..., None]
  kind = jnp.where(padding, _PADDING, jnp.where(wrong, _WRONG, _RIGHT))
  noise = jax.random.normal(keys["noise"], (*kind.shape, centres.shape[-1]))
  return _Solutions(centres[kind] + noise, kind, at <= last, solved)


def learn_scores(key, head, seen: _Solutions, *, num_steps, learning_rate):
  """Cross-entropy of the labels of steps, by Adam on the whole set."""
  params = head.init(key, seen.features, seen.mask)
  optimizer = optax.adam(learning_rate)

  def loss(params):
    logits = head.apply(params, seen.features, seen.mask)
    correct = seen.kind != _WRONG
    losses = jax.nn.softplus(jnp.where(correct, -logits, logits))
    return masking.masked_mean(losses, seen.mask)

  def step(carry, _):
    params, moments = carry
    updates, moments = optimizer.update(jax.grad(loss)(params), moments)
    return (optax.apply_updates(params, updates), moments), None

  carry = params, optimizer.init(params)
  return jax.lax.scan(step, carry, None, length=num_steps)[0][0]


def reward_refinement_trained(
    *, seed, num_seeds, most, useful, success, cost, dimensions, distance,
    hidden, num_labelled, judge_steps, judge_rate, weight, group_size,
    num_steps, learning_rate, below, within,
) -> Study:
  """How much padding a policy adds for the scores of a trained judge.

  The judge is a small network that learned, from solutions of the first
  policy, which steps are correct. Its mean score there is the threshold of
  the clip.
  """
  added = jnp.arange(most + 1)
  chance = success - cost * added.astype(jnp.float32)
  head = ValueHead(hidden=hidden)

  def judge(key):
    keys = split_named(key, "centres", "added", "write", "learn")
    centres = jax.random.normal(keys["centres"], (3, dimensions))
    centres *= distance / jnp.linalg.norm(centres, axis=-1, keepdims=True)
    shape = dict(chance=chance, useful=useful, most=most)
    numbers = jax.random.randint(keys["added"], (num_labelled,), 0, most + 1)
    seen = write(keys["write"], numbers, centres, **shape)
    params = learn_scores(
        keys["learn"], head, seen,
        num_steps=judge_steps, learning_rate=judge_rate,
    )
    rate = lambda x: jax.nn.sigmoid(head.apply(params, x.features, x.mask))
    threshold = masking.masked_mean(rate(seen), seen.mask)
    make = lambda key, numbers: write(key, numbers, centres, **shape)
    return make, rate, threshold

  def learn(key, which, make, rate, threshold):
    def step(logits, step_key):
      draw_key, write_key = jax.random.split(step_key)
      chosen = tables.draw(draw_key, logits, group_size=group_size)
      made = make(write_key, chosen)
      process = refinements(rate(made), made.mask, threshold)
      process = jnp.stack(list(process.values()))[which]
      rewards = made.solved + weight * process
      logits = tables.ascend(
          logits, chosen, group.leave_one_out(rewards),
          learning_rate=learning_rate,
      )
      p = jax.nn.softmax(logits[0])
      return logits, (jnp.vdot(p, chance), jnp.vdot(p, added.astype(float)))

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, jnp.zeros((1, most + 1)), keys)[1]

  def run(key):
    judge_key, fresh_key, key = jax.random.split(key, 3)
    judged = judge(judge_key)
    every = jax.vmap(lambda which: learn(key, which, *judged))
    make, rate, _ = judged
    fresh = make(fresh_key, jnp.repeat(added, num_labelled // (most + 1)))
    return every(jnp.arange(len(REFINED))), _scores_by_kind(rate(fresh), fresh)

  lines, scores = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  by_name = lambda x: {name: x[:, i] for i, name in enumerate(REFINED)}
  judged = [
      mean_row("judge", f"score of {kind} steps", x)
      for kind, x in scores.items()
  ]
  return refinement_study(
      "a trained judge of steps", *map(by_name, lines), below, within, judged
  )


def _scores_by_kind(scores, made):
  kinds = {"right": _RIGHT, "wrong": _WRONG, "padding": _PADDING}
  return {
      name: masking.masked_mean(scores, made.mask & (made.kind == kind))
      for name, kind in kinds.items()
  }
