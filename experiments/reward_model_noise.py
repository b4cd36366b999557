"""What `config.noise` makes of wrong labels; it checks its fields."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import ml_collections as mlc
import numpy as np

from experiments import reward_model_rates
from experiments.reward_model_data import Row
from rewardjax.core import checks
from rewardjax.types import NoiseRates

CORRECTED = ("forward", "backward")
SELECTED = ("small_loss", "co_teaching")
NOISES = ("none", *CORRECTED, *SELECTED, "relabel")
GROUPS = ("", "annotator", "source")
RELABELS = ("quantiles", "agreement")

Table = Mapping[str, NoiseRates]
# Title -> name -> (value, low, high, count), for the report.
Notes = dict[str, dict[str, tuple[float, float, float, int]]]


def check(config, kind: str) -> None:
  """Raises ValueError, naming the field, for what does not fit together."""
  noise, where = config.noise, "config.noise"
  checks.one_of(where, NOISES, name=noise.name)
  checks.one_of(where, GROUPS, by=noise.by)
  estimates = reward_model_rates.ESTIMATES
  checks.one_of(where, estimates, estimate=noise.estimate)
  given = dict(
      false_positive=noise.false_positive, false_negative=noise.false_negative
  )
  checks.probability(where, **given)
  if noise.name != "none" and config.loss.name != "bradley_terry":
    raise ValueError(
        f"config.noise.name={noise.name!r} needs config.loss.name="
        f"'bradley_terry', got {config.loss.name!r}."
    )
  if noise.name in (*CORRECTED, "relabel") and (
      config.loss.smoothing or config.loss.strength == "margin"
  ):
    raise ValueError(
        f"config.noise.name={noise.name!r} goes with neither smoothing nor "
        "margins: each changes what a label means."
    )
  if noise.name in SELECTED and config.num_microbatches > 1:
    raise ValueError(
        f"config.noise.name={noise.name!r} ranks a whole batch: "
        f"num_microbatches must be 1, got {config.num_microbatches}."
    )
  twos = not (config.members % 2 or config.first_member % 2)
  if noise.name == "co_teaching" and not twos:
    raise ValueError(
        "config.noise.name='co_teaching' needs members in twos: members and "
        f"first_member must be even, got {config.members} and "
        f"{config.first_member}."
    )
  if noise.estimate != "given":
    _check_estimate(noise, kind)
  if noise.name == "relabel":
    _check_relabel(config)


def _check_estimate(noise, kind: str) -> None:
  named = f"config.noise.estimate={noise.estimate!r}"
  if noise.name not in (*CORRECTED, *SELECTED):
    raise ValueError(
        f"{named} needs config.noise.name to be one of "
        f"{', '.join((*CORRECTED, *SELECTED))}, got {noise.name!r}."
    )
  if noise.estimate == "annotators" and not noise.by:
    raise ValueError(f"{named} needs config.noise.by='annotator' or 'source'.")
  if not noise.symmetric and (noise.estimate, kind) != ("gold", "ties"):
    raise ValueError(
        "config.noise.symmetric=False needs estimate='gold' and rows of kind "
        "'ties': where the preferred one is always listed first, as in pairs, "
        "both rates look alike."
    )
  checks.within(
      "config.noise.prior", 0.0, low_open=True, wrong=noise.prior[0],
      right=noise.prior[1],
  )


def _check_relabel(config) -> None:
  o, where = config.relabel, "config.relabel"
  checks.one_of(where, RELABELS, labels=o.labels)
  checks.at_least(where, 2, members=o.members)
  shares = dict(flip=o.flip, drop=o.drop, soften=o.soften)
  checks.probability(where, smoothing=o.smoothing, **shares)
  checks.within(where, 0.0, 1.0 + 1e-6, sum_of_shares=sum(shares.values()))
  checks.at_least(
      where, 0.0, margin_scale=o.margin_scale, std_weight=o.std_weight
  )
  if o.num_steps < 1 or o.num_steps % config.log_every:
    raise ValueError(
        "config.relabel.num_steps must be a positive multiple of log_every="
        f"{config.log_every}, got {o.num_steps}."
    )


def given(noise) -> Table:
  """The rates that the config states, by name; "" is everybody."""
  if not noise.by:
    return {"": NoiseRates(noise.false_positive, noise.false_negative)}
  table = noise.rates.to_dict() if noise.rates else {}
  both = lambda x: x if isinstance(x, list | tuple) else (x, x)
  found = {name: NoiseRates(*both(x)) for name, x in table.items()}
  for name, rates in found.items():
    checks.probability(f"config.noise.rates.{name}", **rates._asdict())
  return found


def rates_of(noise, row: Row, table: Table) -> NoiseRates:
  """Of the row's annotator or source, or of everybody.

  Raises:
    ValueError: naming the row, if its name is missing or unknown.
  """
  if not noise.by:
    return table[""]
  return table[row.known_name(noise.by, table, "config.noise.rates")]


class Settled(NamedTuple):
  """The config with the share of wrong labels filled in, and the rates."""

  config: Any
  table: Table
  notes: Notes


def settle(config, rows: Iterable[Row]) -> Settled:
  """Estimates what `config.noise` does not state.

  Args:
    config: of the run.
    rows: to train on and to stop by; none that are measured on.

  Raises:
    ValueError: if they do not tell.
  """
  noise, rows = config.noise, list(rows)
  if noise.name not in (*CORRECTED, *SELECTED):
    return Settled(config, {}, {})
  table, notes = given(noise), {}
  if noise.estimate != "given":
    names = sorted({reward_model_rates.name_of(noise, row) for row in rows})
    found = reward_model_rates.estimate(noise, rows, names)
    values = zip(*(np.asarray(x, float).tolist() for x in found.rates))
    table = {name: NoiseRates(*x) for name, x in zip(names, values)}
    notes = _notes(noise, names, found)
  if noise.name in SELECTED and (noise.by or notes):
    wrong = [np.mean(rates_of(noise, row, table)) for row in rows]
    config = mlc.ConfigDict(config.to_dict())
    config.noise.false_positive = float(np.mean(wrong))
  return Settled(config, table, notes)


def _notes(noise, names, found) -> Notes:
  titles = {"Flip rates": found.false_positive}
  if not noise.symmetric:
    titles = {
        "Rates of preferring the first where the second is better":
            found.false_positive,
        "Rates of preferring the second where the first is better":
            found.false_negative,
    }
  rows = lambda x: np.stack([np.asarray(v, float) for v in x], 1).tolist()
  return {
      title: {
          name or "everybody": (*ends, int(count))
          for name, (*ends, count) in zip(names, rows(x))
      }
      for title, x in titles.items()
  }
