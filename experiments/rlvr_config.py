"""Reads the config of `experiments.rlvr`: arms, and what is wrong with it.

Everything is checked before anything compiles; each error is one line that
names the field and the choices.
"""

import json
import math
import pathlib
from typing import get_args

import ml_collections as mlc

from experiments import rlvr_stages, tasks, verifying
from experiments.choices import choose
from rewardjax.advantages import off_policy
from rewardjax.core import checks
from rewardjax.noise import corrections
from rewardjax.objectives.regularizers import KlEstimator
from rewardjax.recipes import decoupled
from rewardjax.training.logging import jsonable, write_atomically
from rewardjax.types import NoiseRates


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
    check(arm)
    arms[name] = mlc.FrozenConfigDict(arm)
    _check_shared(config, arm, name)
  if not arms:
    raise ValueError("config.arms must name at least one arm.")
  return arms


# What arms of one compiled program may differ in.
CHEAP = ("noise", "correction", "appeals", "credit", "shaping")


def group_arms(
    arms: dict[str, mlc.FrozenConfigDict],
) -> list[dict[str, mlc.FrozenConfigDict]]:
  """Arms that fit into one compiled program each, in order."""
  groups = {}
  for name, arm in arms.items():
    rest = {k: v for k, v in arm.to_dict().items() if k not in CHEAP}
    # Only a critic has values to learn.
    key = json.dumps(jsonable(rest | {"critic": arm.credit.name == "gae"}))
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
)


def _check_shared(config, arm, name: str) -> None:
  # As plain values: equality of ConfigDicts also compares their locks.
  common, changed = config.to_dict(), arm.to_dict()
  for field in SHARED:
    if common[field] != changed[field]:
      raise ValueError(
          f"config.arms.{name}.{field} cannot be changed: all arms share it."
      )


def _checked_fields(config, changes: dict, where: str) -> dict:
  for name, value in changes.items():
    if name not in config:
      raise ValueError(
          f"config.{where}.{name} is no field; choose from "
          f"{', '.join(sorted(config.keys()))}."
      )
    if isinstance(value, dict):
      _checked_fields(config[name], value, f"{where}.{name}")
  return changes


def check(config: mlc.ConfigDict) -> None:
  """Raises ValueError, naming the field, unless an arm makes sense."""
  for field, table in {
      "task.name": tasks.TASKS,
      "task.tokenizer": tasks.TOKENIZERS,
      "verifier.name": verifying.VERIFIERS,
      "verifier.trusted": verifying.VERIFIERS,
      "noise.name": ("none", "binary"),
      "correction.name": rlvr_stages.CORRECTIONS,
      "correction.rates": rlvr_stages.RATE_SOURCES,
      "credit.name": rlvr_stages.CREDITS,
      "credit.estimator": rlvr_stages.GROUP_ESTIMATORS,
      "surrogate.name": rlvr_stages.SURROGATES,
      "surrogate.ratio": rlvr_stages.RATIOS,
      "reducer": rlvr_stages.REDUCERS,
      "regularizer.kl_estimator": KlEstimator.__args__,
      "off_policy.correction": get_args(decoupled.Correction),
      "off_policy.level": get_args(off_policy.Level),
      "agents": ("vmap", "scan"),
  }.items():
    choose(field, dict.fromkeys(table), _field(config, field))
  for field in (
      "num_seeds",
      "num_steps",
      "log_every",
      "checkpoint_every",
      "updates_per_batch",
      "num_microbatches",
      "sampling.batch_size",
      "sampling.group_size",
      "task.num_train",
      "task.prompt_length",
      "task.answer_length",
      "warm_up.num_steps",
  ):
    checks.at_least("config", 1, **{field: _field(config, field)})
  for field in (
      "lora.rank",
      "sampling.halvings",
      "sampling.lanes",
      "evaluation.num_samples",
      "verifier.memory_mb",
  ):
    checks.at_least("config", 0, **{field: _field(config, field)})
  for field in ("appeals.fraction", "appeals.audit_fraction", "appeals.decay"):
    checks.probability("config", **{field: _field(config, field)})
  if {config.verifier.name, config.verifier.trusted} & {"trl", "tunix"}:
    verifying.user_function(config.verifier.function)
  _check_pretrained(config)
  _check_rates(config, "noise")
  _check_rates(config, "correction")
  _check_groups(config)


def _check_pretrained(config) -> None:
  """Fields that need a pretrained model, or that it makes idle."""
  needs = {
      "lora.rank": config.lora.rank,
      "task.chat": config.task.chat,
      "task.tokenizer": config.task.tokenizer == "pretrained",
  }
  if not config.model.pretrained:
    for field, used in needs.items():
      if used:
        raise ValueError(
            f"config.{field} = {_field(config, field)!r} needs a pretrained "
            "model: set config.model.pretrained."
        )
  elif config.task.tokenizer != "pretrained":
    raise ValueError(
        "config.task.tokenizer must be 'pretrained' for a pretrained model, "
        f"got {config.task.tokenizer!r}."
    )
  elif not config.task.chat and (config.task.system or config.task.suffix):
    raise ValueError(
        "config.task.system and config.task.suffix are read with "
        "config.task.chat=True only."
    )


def num_devices(sizes: dict[str, int]) -> int | None:
  """Devices of a mesh of fixed sizes; None (all of them) if one is -1."""
  return None if -1 in sizes.values() else math.prod(sizes.values())


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


def _field(config, path: str):
  for name in path.split("."):
    config = config[name]
  return config


def _check_rates(config, field: str) -> None:
  options, kinds = config[field], config.task.kinds
  for name in ("false_positive", "false_negative"):
    rates = options[name]
    if len(rates) not in (1, len(kinds)):
      raise ValueError(
          f"config.{field}.{name} must hold one rate, or one for each of "
          f"config.task.kinds {tuple(kinds)}; got {tuple(rates)}."
      )
    for rate in rates:
      checks.probability("config", **{f"{field}.{name}": rate})
  if len(options.false_positive) == len(options.false_negative) == 1:
    corrections.check_rates(
        f"config.{field}",
        NoiseRates(options.false_positive[0], options.false_negative[0]),
    )


def _check_groups(config) -> None:
  credit, sampling = config.credit, config.sampling
  grouped = (
      credit.name == "group" and credit.estimator in rlvr_stages.NEEDS_GROUP
  )
  if grouped and sampling.group_size < 2:
    raise ValueError(
        f"config.sampling.group_size must be at least 2 for "
        f"config.credit.estimator {credit.estimator!r}, got "
        f"{sampling.group_size}: a lone sample has nothing to compare with."
    )
  if sampling.batch_size % config.num_microbatches:
    raise ValueError(
        f"config.num_microbatches must divide config.sampling.batch_size "
        f"{sampling.batch_size}, got {config.num_microbatches}."
    )
  if config.num_steps % config.log_every:
    raise ValueError(
        f"config.log_every must divide config.num_steps {config.num_steps}, "
        f"got {config.log_every}."
    )
  if config.checkpoint_every % config.log_every:
    raise ValueError(
        f"config.checkpoint_every must be a multiple of config.log_every "
        f"{config.log_every}, got {config.checkpoint_every}."
    )


def no_op_reason(config) -> str | None:
  """Why the correction of an arm provably changes no advantage, if so."""
  scales = {"standardized": "group_std", "batch_scaled": "batch_std"}
  centers = {"leave_one_out": "leave_one_out", "none": "none"}
  if config.credit.name != "group" or config.correction.name == "none":
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
