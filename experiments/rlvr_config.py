"""Reads the config of `experiments.rlvr`: arms, and what is wrong with it.

Everything is checked before anything compiles; each error is one line that
names the field and the choices.
"""

import json
import pathlib
from collections.abc import Iterable

import ml_collections as mlc

from experiments import rlvr_checks, rlvr_measures, rlvr_recipe_calls
from experiments.rlvr_checks import field_at
from rewardjax.noise import corrections
from rewardjax.training.logging import jsonable, write_atomically


def arm_configs(config: mlc.ConfigDict) -> dict[str, mlc.FrozenConfigDict]:
  """One checked config per arm: the common fields, changed by the arm's.

  Raises:
    ValueError: naming the field, for a field or value that does not exist.
  """
  arms = {}
  for name, changes in config.arms.items():
    arm = mlc.ConfigDict(config.to_dict())
    try:
      arm.update(_checked_fields(arm, changes.to_dict(), f"arms.{name}"))
    except TypeError as error:
      raise ValueError(f"config.arms.{name}: {error}") from error
    del arm.arms
    rlvr_checks.check(arm)
    arms[name] = mlc.FrozenConfigDict(arm)
    _check_shared(config, arm, name)
  if not arms:
    raise ValueError("config.arms must name at least one arm.")
  for field in ("criterion.arm", "baseline"):
    if field_at(config, field) not in ("", *arms):
      raise ValueError(
          f"config.{field} must be one of config.arms {sorted(arms)}, got "
          f"{field_at(config, field)!r}."
      )
  o = config.criterion
  if o.over == "baseline" and o.arm == baseline_of(config, arms):
    raise ValueError(
        f"config.criterion.arm must be another than the baseline, {o.arm!r}: "
        "see config.baseline."
    )
  return arms


def baseline_of(config, arms: Iterable[str]) -> str:
  """The arm that the others are compared with."""
  names = list(arms)
  if config.baseline:
    return config.baseline
  return "uncorrected" if "uncorrected" in names else names[0]


# What arms of one compiled program may differ in.
CHEAP = (
    "noise",
    "correction",
    "appeals",
    "credit",
    "shaping",
    "surrogate",
    "reducer",
    "recipe",
)


def group_arms(
    arms: dict[str, mlc.FrozenConfigDict],
) -> list[dict[str, mlc.FrozenConfigDict]]:
  """Arms that fit into one compiled program each, in order."""
  groups = {}
  for name, arm in arms.items():
    rest = {k: v for k, v in arm.to_dict().items() if k not in CHEAP}
    # Another forward pass is not cheap, and a critic has weights of its own.
    needs = rlvr_recipe_calls.needs(arm)._asdict()
    key = json.dumps(jsonable(rest | {"needs": needs}))
    groups.setdefault(key, {})[name] = arm
  return list(groups.values())


# One warm-up, one loop and one stream of problems serve all arms.
SHARED = (
    "seed",
    "num_seeds",
    "num_steps",
    "log_every",
    "checkpoint_every",
    "task",
    "model",
    "warm_up",
    "mesh",
    "agents",
    "asynchronous.sampler_devices",
)


def _check_shared(config, arm, name: str) -> None:
  # As plain values: equality of ConfigDicts also compares their locks.
  common, changed = config.to_dict(), arm.to_dict()
  for path in SHARED:
    if field_at(common, path) != field_at(changed, path):
      raise ValueError(
          f"config.arms.{name}.{path} cannot be changed: all arms share it."
      )


# Dictionaries that any name may be put into; what reads them checks it.
_OPEN = ("recipe.options", "task.datasets")


def _checked_fields(config, changes: dict, where: str) -> dict:
  if where.endswith(_OPEN):
    return changes
  for name, value in changes.items():
    if name not in config:
      raise ValueError(
          f"config.{where}.{name} is no field; choose from "
          f"{', '.join(sorted(config.keys()))}."
      )
    if isinstance(value, dict):
      _checked_fields(config[name], value, f"{where}.{name}")
  return changes


def claim_workdir(config: mlc.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes config.json, or checks that the run found there is this one.

  Raises:
    ValueError: naming the first field in which the configs differ.
  """
  path = workdir / "config.json"
  mine = json.loads(json.dumps(jsonable(config.to_dict())))
  if path.exists():
    theirs = json.loads(path.read_text())
    for field in sorted(_flat(mine).items() ^ _flat(theirs).items()):
      raise ValueError(
          f"config.{field[0]} differs from {path}: give another --workdir, or "
          "remove that run to start afresh."
      )
  write_atomically(path, json.dumps(mine, indent=2) + "\n")


def _flat(tree, prefix: str = "") -> dict[str, str]:
  if not isinstance(tree, dict):
    return {prefix: json.dumps(tree)}
  rows = {}
  for name, value in tree.items():
    rows |= _flat(value, f"{prefix}.{name}" if prefix else name)
  return rows


def no_op_reason(config) -> str | None:
  """Why the correction of an arm provably changes no advantage, if so."""
  scales = {"standardized": "group_std", "batch_scaled": "batch_std"}
  centers = {"leave_one_out": "leave_one_out", "none": "none"}
  if config.credit.name != "group" or config.correction.name == "none":
    return None
  if config.recipe.name or rlvr_measures.beside_names(config):
    return None
  estimator = config.credit.estimator
  if estimator not in (*scales, *centers, "centered"):
    return None
  certain, reason = corrections.is_no_op(
      config.correction.name,
      centers.get(estimator, "mean"),
      scales.get(estimator, "none"),
      constant_within_group=True,
      constant_over_batch=len(config.noise.false_positive) == 1
      and len(config.noise.false_negative) == 1,
  )
  return reason if certain else None
