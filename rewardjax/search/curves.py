"""How often the chosen answer is right, as the number of samples grows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking, random
from rewardjax.search import selection, voting


class SelectionCurves(NamedTuple):
  """Whether the right answer is found; K numbers of samples, the last axis.

  1 or 0 for one draw of the samples of one problem, else a mean of those;
  float32 or wider.

  best_of_n: by the answer with the highest reward.
  weighted_vote: by the answer whose rewards sum highest.
  majority_vote: by the most frequent answer.
  pass_at_n: by any answer; no choice can do better.
  """

  best_of_n: Float[Array, "*shape K"]
  weighted_vote: Float[Array, "*shape K"]
  majority_vote: Float[Array, "*shape K"]
  pass_at_n: Float[Array, "*shape K"]


def ordered_selections(
    order: Int[Array, "P N"],
    answers: Int[Array, "P M"],
    rewards: Float[Array, "P M"],
    gold: Int[Array, " P"],
    mask: Bool[Array, "P M"] | None = None,
    *,
    sizes: Int[Array, " K"],
) -> SelectionCurves:
  """What is chosen among the first n of the M samples, in a given order.

  Of equal rewards, sums or counts the first in that order wins. Where n
  leaves nothing to draw, all samples stand in the order they came in.

  Args:
    order: of each problem, the places of its samples as they were drawn; real
      ones first. N may be less than M, if it is not less than any n.
    answers: as `selection_curves`, with `rewards`, `gold` and `mask`.
    rewards: see there.
    gold: see there.
    mask: see there.
    sizes: n. Where it exceeds the samples of a problem all of them are used.

  Returns:
    [P, K], 1 where the choice is right.

  Gradient: none.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
  """
  where = "ordered_selections"
  checks.same_shape(where, answers=answers, rewards=rewards, mask=mask)
  checks.same_shape(
      where, gold=gold, problems=answers[:, 0], order=order[:, 0]
  )
  mask = jnp.ones(answers.shape, bool) if mask is None else mask
  count, width = jnp.sum(mask, axis=-1, keepdims=True), order.shape[1]
  given = jnp.argsort(~mask, axis=-1, stable=True)[:, :width]
  right = (answers == gold[:, None]) & (answers >= 0)

  def at(n):
    drawn = jnp.where(n < count, order, given)
    taken = lambda x: jnp.take_along_axis(x, drawn, axis=-1)
    kept = (jnp.arange(width)[None] < n) & taken(mask)
    said, found, scores = map(taken, (answers, right, rewards))
    # The id of an answer is the place of its first sample.
    same = (said[:, :, None] == said[:, None, :]) & kept[:, None, :]
    first = jnp.where(said >= 0, jnp.argmax(same, axis=-1), -1)
    of = lambda i: (i >= 0) & jnp.take_along_axis(found, i[:, None], 1)[:, 0]
    chosen = (
        of(selection.best_of_n(scores, kept)),
        of(voting.weighted_vote(first, scores, kept).answer),
        of(voting.majority_vote(first, kept).answer),
        jnp.any(found & kept, axis=-1),
    )
    return jnp.stack(chosen).astype(masking.as_accumulator(rewards).dtype)

  return SelectionCurves(*jnp.moveaxis(jax.lax.map(at, sizes), 0, -1))


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
  are its first n: what they show of larger n is not a new draw. Ties are
  broken as in `ordered_selections`.

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

  Returns:
    [K], the shares of problems.

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
  problems = random.keys_by_id(key, jnp.arange(len(gold)))

  def one_run(run):
    keys = jax.vmap(jax.random.fold_in, (0, None))(problems, run)
    order = jax.vmap(_random_order)(keys, mask)
    found = ordered_selections(
        order, answers, rewards, gold, mask, sizes=sizes
    )
    return jnp.mean(jnp.stack(found), axis=1)

  found = jax.lax.map(one_run, jnp.arange(num_runs))
  return SelectionCurves(*jnp.mean(found, axis=0))


def _random_order(key, mask):
  """The places of the samples in a random order, real ones first."""
  drawn = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf)
  return jnp.argsort(drawn)
