"""Does a solver keep its answer where it should, and change it where it must?

    retain   share of harmless edits after which the original tests pass
    adapt    share of flips after which the changed tests pass
    stale    share of flips after which the original tests still pass
    differential = retain - stale: near 1 for a reader, 0 for who never looks

References:
  "Small Edits, Big Consequences: Telling Good from Bad Robustness in Large
    Language Models".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking


class Outcomes(NamedTuple):
  """What a solver did with E edits of each of N tasks.

  passes_original: the answer to the edited prompt passes the tests of the
    task as it was.
  passes_changed: it passes those of the flipped task.
  is_flip: the edit changed the task.
  level: of deletion, 0 .. num_levels; 0 where nothing was left out.
  mask: True for real edits.
  """

  passes_original: Bool[Array, "N E"]
  passes_changed: Bool[Array, "N E"]
  is_flip: Bool[Array, "N E"]
  level: Int[Array, "N E"]
  mask: Bool[Array, "N E"]


class Scores(NamedTuple):
  """Shares in [0, 1]; 0 where there is nothing to count.

  retain_at: by level of deletion, 0 (none) first.
  """

  retain_at: Float[Array, " L"]
  retain: Float[Array, ""]
  adapt: Float[Array, ""]
  stale: Float[Array, ""]
  differential: Float[Array, ""]


def scores(
    outcomes: Outcomes,
    weights: Float[Array, " N"] | None = None,
    *,
    num_levels: int = 10,
) -> Scores:
  """Shares over all edits, each task counted `weights` times.

  An answer that crashes passes nothing: it neither retains nor adapts.

  Args:
    outcomes: of one solver.
    weights: of the tasks, 0 or more; None means 1.
    num_levels: the highest level of deletion (static).

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("scores", **outcomes._asdict())
  checks.same_shape("scores", weights=weights, tasks=outcomes.level[:, 0])
  n = outcomes.level.shape[0]
  weights = jnp.ones(n) if weights is None else masking.as_accumulator(weights)

  def share(passed, counted):
    total = jnp.sum(jnp.where(counted, weights[:, None], 0.0))
    hits = jnp.sum(jnp.where(counted & passed, weights[:, None], 0.0))
    return masking.safe_divide(hits, total)

  benign = outcomes.mask & ~outcomes.is_flip
  flips = outcomes.mask & outcomes.is_flip
  original = outcomes.passes_original
  retain_at = jnp.stack(
      [
          share(original, benign & (outcomes.level == level))
          for level in range(num_levels + 1)
      ]
  )
  retain, stale = share(original, benign), share(original, flips)
  adapt = share(outcomes.passes_changed, flips)
  return Scores(retain_at, retain, adapt, stale, retain - stale)


def bootstrap(
    key: Key[Array, ""],
    outcomes: Outcomes,
    *,
    num_draws: int = 1000,
    num_levels: int = 10,
    coverage: float = 0.95,
) -> tuple[Scores, Scores]:
  """Ends of percentile intervals, the tasks drawn anew with replacement.

  Tasks and not edits: the edits of one task stand or fall together.

  Args:
    key: consumed.
    outcomes: of one solver.
    num_draws: static.
    num_levels: see `scores`.
    coverage: of the interval, in (0, 1).

  Raises:
    ValueError: if `coverage` is out of range.
  """
  checks.within(
      "bootstrap", 0.0, 1.0, low_open=True, high_open=True, coverage=coverage
  )
  checks.at_least("bootstrap", 1, num_draws=num_draws)
  n = outcomes.level.shape[0]

  def redraw(key):
    chosen = jax.random.randint(key, (n,), 0, n)
    counts = jnp.zeros(n).at[chosen].add(1.0)
    return scores(outcomes, counts, num_levels=num_levels)

  drawn = jax.vmap(redraw)(jax.random.split(key, num_draws))
  tail = (1 - coverage) / 2
  at = lambda q: jax.tree.map(lambda x: jnp.quantile(x, q, axis=0), drawn)
  return at(tail), at(1 - tail)


def differential_reward(
    passes_original: Bool[Array, "*shape"],
    passes_changed: Bool[Array, "*shape"],
    is_flip: Bool[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """1 for the answer that fits the prompt as it stands: changed after a flip.

  To be paid for `passes_original` alone is what makes solvers deaf to flips.
  """
  checks.same_shape(
      "differential_reward",
      passes_original=passes_original,
      passes_changed=passes_changed,
      is_flip=is_flip,
  )
  right = jnp.where(is_flip, passes_changed, passes_original)
  return right.astype(jnp.float32)
