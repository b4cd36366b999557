"""What the losses read of each row: numbers, checked for this loss."""

from collections.abc import Mapping
from typing import Any

from experiments import reward_model_noise
from experiments.reward_model_data import Data, Row
from experiments.reward_model_losses import COMPARISONS

_LABELS = {
    "ties": "label",
    "ratings": "rating",
    "rankings": "ranks",
    "steps": "labels",
}


def targets(
    config,
    data: Data,
    users: Mapping[str, int],
    rates: reward_model_noise.Table | None = None,
) -> list[dict]:
  """What the loss reads of each row, under the same names for every row.

  Args:
    config: of the run.
    data: rows.
    users: their numbers.
    rates: of flips, by name; None: those that the config states.

  Raises:
    ValueError: naming row and field, for a row this loss cannot learn from.
  """
  if rates is None:
    rates = reward_model_noise.given(config.noise)
  return [_targets(config, data.kind, row, users, rates) for row in data.rows]


def check_differences(config, data: Data) -> None:
  """Raises ValueError if all rows say the same: nothing could be learned."""
  if data.kind == "pairs":
    return  # chosen and rejected differ
  field = _LABELS[data.kind]
  if config.loss.name == "orm":
    field = "correct"
  name = "outcome" if field == "label" else field
  values = [row.values[name] for row in data.rows]
  if data.kind == "rankings":
    same = all(len(set(ranks)) == 1 for ranks in values)
  elif data.kind == "ties":
    same = not any(values)
  else:
    same = len(set(_flat(values))) == 1
  if same:
    raise ValueError(
        f"{data.rows[0].place}, and all others: field {field!r} is the same "
        "everywhere: there is nothing to tell apart."
    )


def _flat(values):
  return [x for v in values for x in (v if isinstance(v, tuple) else (v,))]


def _targets(config, kind: str, row: Row, users, rates) -> dict[str, Any]:
  o, found = config.loss, {"weight": row.values["weight"], "user": 0}
  if users:
    name = row.known_name("user", users, "this model's users")
    found["user"] = users[name]
  if kind in COMPARISONS:
    found["outcome"] = row.values["outcome"]
    if not found["outcome"] and o.name != "rao_kupper":
      raise ValueError(
          f"{row.place}: field 'label' is 0, a tie, which "
          f"config.loss.name={o.name!r} cannot express; use 'rao_kupper'."
      )
    if o.strength != "none":
      if "strength" not in row.values:
        raise ValueError(
            f"{row.place}: field 'strength' is missing, and "
            f"config.loss.strength is {o.strength!r}."
        )
      found["strength"] = row.values["strength"]
    if config.noise.name in reward_model_noise.CORRECTED:
      noisy = reward_model_noise.rates_of(config.noise, row, rates)
      found |= noisy._asdict()
    if o.levels:
      found |= _levels(o, row)
  elif kind == "ratings":
    found["rating"] = 2 * _on_scale(o, row, "rating") - 1
  else:
    names = {"rankings": ("ranks",), "steps": ("labels", "correct")}[kind]
    found |= {name: row.values[name] for name in names}
  return found


def _on_scale(o, row: Row, field: str) -> float:
  """From 0 to 1."""
  (low, high), rating = o.scale, row.values[field]
  if not low <= rating <= high:
    raise ValueError(
        f"{row.place}: field {field!r} must be in config.loss.scale, "
        f"[{low:g}, {high:g}], got {rating:g}."
    )
  return (rating - low) / (high - low)


def level_of(o, row: Row, field: str) -> int:
  """Of `config.loss.levels` equal parts of the scale; -1 without a rating."""
  if row.values.get(field) is None:
    return -1
  return min(int(_on_scale(o, row, field) * o.levels), o.levels - 1)


def _levels(o, row: Row) -> dict[str, Any]:
  """Of the preferred one and the other; a pair that denies them weighs 0."""
  high, low = (level_of(o, row, f"{x}_rating") for x in ("chosen", "rejected"))
  if row.values["outcome"] < 0:
    high, low = low, high
  if low < 0 or high < 0:
    return dict(high_level=-1, low_level=-1)
  if high < low:
    return dict(high_level=-1, low_level=-1, weight=0.0)
  return dict(high_level=high, low_level=low)
