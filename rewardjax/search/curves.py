"""How often the chosen answer is right, as the number of samples grows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, random
from rewardjax.search import selection, voting


class SelectionCurves(NamedTuple):
  """The share of problems with the right answer, for each number of samples.

  Means over random subsets, float32.

  best_of_n: the answer with the highest reward.
  weighted_vote: the answer whose rewards sum highest.
  majority_vote: the most frequent answer.
  pass_at_n: any answer; no choice can do better.
  """

  best_of_n: Float[Array, " K"]
  weighted_vote: Float[Array, " K"]
  majority_vote: Float[Array, " K"]
  pass_at_n: Float[Array, " K"]


def selection_curves(
    key: Key[Array, ""],
    answers: Int[Array, "P M"],
    rewards: Float[Array, "P M"],
    gold: Int[Array, " P"],
    mask: Bool[Array, "P M"] | None = None,
    *,
    sizes: Int[Array, " K"],
    num_runs: int,
) -> SelectionCurves:
  """Accuracy of choosing among n of the M samples of each of P problems.

  In every run the samples of a problem get one random order, and n of them
  are its first n: what they show of larger n is not a new draw.

  Args:
    key: consumed; problem p gets `fold_in(key, p)`.
    answers: ids >= 0 of the samples, equal where the answers are. All that
      could not be read share one id that is never right; a negative id can
      neither vote nor be right, but may have the highest reward.
    rewards: of the samples, higher is better; >= 0 for the weighted vote.
    gold: the right answers.
    mask: True for samples that exist; None means all.
    sizes: n. Where it exceeds the samples of a problem all of them are used.
    num_runs: random orders (static).

  Gradient: none.

  Raises:
    ValueError: if shapes do not fit, or `num_runs` is less than 1.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
  """
  where = "selection_curves"
  checks.at_least(where, 1, num_runs=num_runs)
  checks.same_shape(where, answers=answers, rewards=rewards, mask=mask)
  checks.same_shape(where, gold=gold, problems=answers[:, 0])
  mask = jnp.ones(answers.shape, bool) if mask is None else mask
  right = (answers == gold[:, None]) & (answers >= 0)
  problems = random.keys_by_id(key, jnp.arange(len(gold)))

  def at(order, n):
    kept = mask & (order < n)
    best = selection.best_of_n(rewards, kept)
    best = (best >= 0) & right[jnp.arange(len(gold)), best]
    votes = voting.weighted_vote(answers, rewards, kept).answer
    most = voting.majority_vote(answers, kept).answer
    vote = lambda answer: (answer >= 0) & (answer == gold)
    found = best, vote(votes), vote(most), jnp.any(right & kept, axis=-1)
    return jnp.stack([jnp.mean(x, dtype=jnp.float32) for x in found])

  def one_run(run):
    keys = jax.vmap(jax.random.fold_in, (0, None))(problems, run)
    return jax.vmap(at, (None, 0))(jax.vmap(_random_order)(keys, mask), sizes)

  found = jax.lax.map(one_run, jnp.arange(num_runs))
  return SelectionCurves(*jnp.mean(found, axis=0).T)


def _random_order(key, mask):
  """The place of each sample in a random order, real ones first."""
  drawn = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf)
  return jnp.argsort(jnp.argsort(drawn))
