"""Who scores steps in `experiments.rlvr`: the policy itself, or a model.

Everything is pure and of one seed. Axes: B prompts, G samples, T tokens, K
steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from experiments import rlvr_measures, rlvr_policy, rlvr_step_models
from experiments.rlvr_policy import Setup
from experiments.rlvr_recipes import Scored, StepScores
from experiments.rlvr_step_models import Read
from experiments.tasks import Problems
from rewardjax.advantages import placement
from rewardjax.rewards import likelihood, marks


class Asked(NamedTuple):
  """What a scorer may look at."""

  problems: Problems
  read: Read
  scored: Scored  # by parameters that are not in training
  policy: PyTree  # that is about to be updated
  model: PyTree  # of the scorer; () where it has none


def _likelihoods(setup: Setup, asked: Asked, first: int) -> Array:
  """Of the reference answer after the steps `first` .. K-1, `[B, G, .]`."""
  read = asked.read
  rollouts, num_steps = read.rollouts, read.step_mask.shape[-1]
  working = marks.split(
      rollouts.tokens,
      rollouts.mask,
      mark=setup.mark,
      stop_tokens=setup.stop_tokens,
  ).working
  after = lambda step: rlvr_measures.answer_likelihood(
      setup,
      asked.policy,
      asked.problems,
      rollouts.tokens,
      working & (read.step_ids <= step),
  )
  # One step after the other: all at once take K times the memory.
  found = jax.lax.map(after, jnp.arange(first, num_steps))
  return jnp.moveaxis(found, 0, -1)


def _likelihood(setup: Setup, key, asked: Asked) -> StepScores:
  """What the policy makes of the reference answer after each step."""
  values = _likelihoods(setup, asked, 0)
  return _of_steps(asked, values)


def _progress(setup: Setup, key, asked: Asked) -> StepScores:
  """How much each step adds to that; the first one to no working at all."""
  values = _likelihoods(setup, asked, -1)
  return _of_steps(asked, values[..., 1:] - values[..., :-1])


def _of_steps(asked: Asked, values) -> StepScores:
  """Known where there is an answer to compare with."""
  read = asked.read
  known = jnp.any(asked.problems.answer_mask, axis=-1)[:, None, None]
  mask = read.step_mask & known
  values = jnp.where(mask, values, 0.0)
  tokens = placement.every(values, read.step_ids, read.rollouts.mask, mask)
  return StepScores(tokens, values, read.step_ids, mask)


def _reference(setup: Setup, key, asked: Asked) -> StepScores:
  """The policy's own implicit rewards: log-ratios to its first version."""
  drawn = asked.read.rollouts.log_probs
  return _of_ratios(asked, drawn, asked.scored.reference)


def _of_ratios(asked: Asked, log_probs, base) -> StepScores:
  read = asked.read
  ids, mask = read.step_ids, read.step_mask
  values = likelihood.implicit_step_rewards(
      log_probs,
      base,
      ids,
      read.rollouts.mask,
      coefficient=1.0,
      num_steps=mask.shape[-1],
  )
  return StepScores(log_probs, values, ids, mask)


def _process(setup: Setup, key, asked: Asked) -> StepScores:
  """Implicit rewards of a language model that learns who succeeds."""
  read = asked.read
  found = rlvr_policy.score(setup, asked.model, read.rollouts).log_probs
  return _of_ratios(asked, found, read.rollouts.log_probs)


def _by_tokens(score: Callable, squash: Callable = lambda x: x) -> Callable:
  """Scores of tokens; those of steps are read at their ends."""

  def scorer(setup: Setup, key, asked: Asked) -> StepScores:
    read = asked.read
    ids, mask = read.step_ids, read.step_mask
    tokens = score(setup, asked.model, read, key)
    values = placement.read_ends(
        tokens, ids, read.rollouts.mask, num_steps=mask.shape[-1]
    )
    return StepScores(tokens, squash(values), ids, mask)

  return scorer


# (setup, key, asked) -> StepScores; who learns is in `MODELS` as well.
SCORERS = {
    "likelihood": _likelihood,
    "progress": _progress,
    "reference": _reference,
    "process": _process,
    "outcome": _by_tokens(rlvr_step_models.logits),
    "judge": _by_tokens(rlvr_step_models.logits, jax.nn.sigmoid),
    "returns": _by_tokens(rlvr_step_models.logits),
    "flow": _by_tokens(rlvr_step_models.flow_scores),
}
