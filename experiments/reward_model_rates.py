"""How often the labels of comparisons are wrong, estimated from their rows.

Axes: A names of annotators or sources, N pairs, R labels of a pair.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_model_data import Data, Row
from rewardjax.noise import audits, flip_rates
from rewardjax.noise.audits import Audit
from rewardjax.noise.rates import RateEstimate

_RESAMPLES = 200


def estimate(noise, rows: Sequence[Row], names: Sequence[str]) -> Audit:
  """Both error rates [A] by `config.noise.estimate`; ties say nothing.

  Args:
    noise: `config.noise`.
    rows: comparisons, all with a name of `names`.
    names: in the field `noise.by`; ("",) is everybody.

  Raises:
    ValueError: naming what no row says, or that labels are no better than
      chance.
  """
  rows = [row for row in rows if row.values["outcome"]]
  numbers = {name: i for i, name in enumerate(names)}
  ids = np.array([numbers[name_of(noise, row)] for row in rows], int)
  found = _ESTIMATES[noise.estimate](noise, rows, ids, len(names))
  counts = np.minimum(*(np.asarray(x.count) for x in found))
  for name, count in zip(names, counts):
    if not count:
      whose = f"of {noise.by} {name!r} " if noise.by else ""
      raise ValueError(
          f"config.noise.estimate={noise.estimate!r}: no row {whose}"
          f"{_NEEDS[noise.estimate]}."
      )
  wrong = sum(np.asarray(x) for x in found.rates)
  if (np.abs(wrong - 1) < 1e-3).all():
    raise ValueError(
        f"config.noise.estimate={noise.estimate!r}: labels are right half of "
        "the time, as if they were drawn: there is nothing to learn."
    )
  return found


def name_of(noise, row: Row) -> str:
  """Who labelled it, as far as rates go.

  Raises:
    ValueError: naming the row, if it does not say.
  """
  return row.name(noise.by) if noise.by else ""


def _gold(noise, rows, ids, num_names: int) -> Audit:
  """From labels that somebody trusted has checked."""
  golds = [row.values.get("gold", 0) for row in rows]
  observed, truth, mask = (
      jnp.asarray(x)
      for x in (
          [row.values["outcome"] > 0 for row in rows],
          [x > 0 for x in golds],
          [x != 0 for x in golds],
      )
  )
  alpha, beta = noise.prior
  args = (jnp.asarray(ids),)
  if noise.symmetric:
    found = jax.jit(flip_rates.from_trusted, static_argnames="num_annotators")(
        observed, truth, mask, *args, num_annotators=num_names, alpha=alpha,
        beta=beta,
    )
    return Audit(found, found)
  return jax.jit(audits.audit, static_argnames="num_groups")(
      observed, truth, mask, None, *args, num_groups=num_names, alpha=alpha,
      beta=beta,
  )


def pair_key(row: Row) -> tuple[Any, bool]:
  """What is compared, in whichever order; whether the order is reversed."""
  keys = [x if isinstance(x, str) else x.tobytes() for x in row.items]
  return (row.prompt, *sorted(keys)), keys[0] > keys[1]


def _labels(rows: Sequence[Row]) -> list[tuple[Any, bool]]:
  """The pair of each row, and whether its first in order was preferred."""
  found = []
  for row in rows:
    key, is_reversed = pair_key(row)
    found.append((key, (row.values["outcome"] > 0) != is_reversed))
  return found


def _repeats(noise, rows, ids, num_names: int) -> Audit:
  """From pairs that one name, or anybody, has labelled more than once."""
  del noise
  given: list[dict[Any, list[bool]]] = [{} for _ in range(num_names)]
  for i, (key, label) in zip(ids, _labels(rows)):
    given[i].setdefault(key, []).append(label)
  repeated = [[x for x in g.values() if len(x) > 1] for g in given]
  size = max(1, *map(len, repeated))
  width = max((len(x) for g in repeated for x in g), default=2)
  labels = np.zeros((num_names, size, width), bool)
  mask = np.zeros_like(labels)
  for a, pairs in enumerate(repeated):
    for n, values in enumerate(pairs):
      labels[a, n, : len(values)] = values
      mask[a, n, : len(values)] = True
  found = jax.jit(jax.vmap(flip_rates.from_repeats))(
      jnp.asarray(labels), jnp.asarray(mask)
  )
  return Audit(found, found)


def _annotators(noise, rows, ids, num_names: int) -> Audit:
  """From pairs that several names have labelled, of three or more names.

  Intervals are percentiles over pairs drawn again.
  """
  if num_names < 3:
    raise ValueError(
        f"config.noise.estimate='annotators' needs three names in the field "
        f"{noise.by!r}, got {num_names}."
    )
  places: dict[Any, int] = {}
  found = _labels(rows)
  for key, _ in found:
    places.setdefault(key, len(places))
  labels = np.zeros((len(places), num_names), bool)
  mask = np.zeros_like(labels)
  for i, (key, label) in zip(ids, found):
    if not mask[places[key], i]:  # the first of several of one's own
      labels[places[key], i], mask[places[key], i] = label, True
  shared = mask.sum(1) > 1
  labels, mask = labels[shared], mask[shared]
  count = mask.sum(0).astype(np.float32)
  size = len(labels)
  if not size:
    return Audit(*[RateEstimate(count, count, count, count)] * 2)
  drawn = np.random.default_rng(0).integers(size, size=(_RESAMPLES, size))
  drawn[0] = np.arange(size)
  rates = _resampled(*map(jnp.asarray, (labels, mask, drawn)))
  low, high = np.quantile(rates[1:], (0.025, 0.975), axis=0)
  return Audit(*[RateEstimate(rates[0], low, high, count)] * 2)


@jax.jit
def _resampled(labels, mask, drawn):
  one = lambda i: flip_rates.from_annotators(labels[i], mask[i])
  return jax.lax.map(one, drawn)


_ESTIMATES: dict[str, Callable[..., Audit]] = {
    "gold": _gold,
    "repeats": _repeats,
    "annotators": _annotators,
}
_NEEDS = {
    "gold": "has the field 'gold'",
    "repeats": "labels a pair that another one labels too",
    "annotators": "labels a pair that others label too",
}
ESTIMATES = ("given", *_ESTIMATES)


def with_gold(data: Data, trusted: Data) -> Data:
  """Rows with the field `gold` wherever the trusted ones judge their pair.

  Raises:
    ValueError: if they judge none, or one of them is a tie.
  """
  truth = {}
  for row, (key, label) in zip(trusted.rows, _labels(trusted.rows)):
    if not row.values["outcome"]:
      raise ValueError(f"{row.place}: field 'label' is 0, a tie, not a truth.")
    truth[key] = label
  rows, checked = [], 0
  for row in data.rows:
    key, is_reversed = pair_key(row)
    if key in truth:
      checked += 1
      gold = 1 if truth[key] != is_reversed else -1
      row = row._replace(values=row.values | {"gold": gold})
    rows.append(row)
  if not checked:
    raise ValueError(
        f"{trusted.rows[0].place}: none of the {len(trusted)} trusted rows "
        "compares the completions of any row of the data."
    )
  return Data(data.kind, tuple(rows))
