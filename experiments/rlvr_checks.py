"""What is wrong with one arm's config of `experiments.rlvr`, in one line."""

from collections.abc import Iterable
from typing import get_args

import jax
import ml_collections as mlc

from experiments import (
    rlvr_curricula,
    rlvr_imitation,
    rlvr_measures,
    rlvr_recipe_calls,
    rlvr_recipes,
    rlvr_rewards,
    rlvr_sampling,
    rlvr_stages,
    rlvr_steps,
    rlvr_teacher_config,
    rlvr_turns,
    task_rows,
    tasks,
    verifying,
)
from experiments.choices import choose
from rewardjax.advantages import off_policy
from rewardjax.core import checks
from rewardjax.noise import corrections
from rewardjax.objectives.regularizers import KlEstimator
from rewardjax.recipes import decoupled
from rewardjax.types import NoiseRates


def check(config: mlc.ConfigDict) -> None:
  """Raises ValueError, naming the field, unless an arm makes sense."""
  for field, table in {
      "task.name": task_rows.TASKS,
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
      "compute_dtype": ("float32", "bfloat16", "float16", ""),
      "model.dtype": ("float32", "bfloat16", "float16"),
      "agents": ("vmap", "scan"),
      "criterion.over": ("baseline", "start"),
      "verifier.unparsable": verifying.UNPARSABLE,
  }.items():
    choose(field, dict.fromkeys(table), field_at(config, field))
  for field in (
      "num_seeds",
      "num_steps",
      "log_every",
      "checkpoint_every",
      "updates_per_batch",
      "num_microbatches",
      "sampling.batch_size",
      "sampling.group_size",
      "sampling.parts",
      "task.num_train",
      "task.prompt_length",
      "task.answer_length",
  ):
    checks.at_least("config", 1, **{field: field_at(config, field)})
  for field in (
      "lora.rank",
      "warm_up.num_steps",
      "sampling.halvings",
      "sampling.lanes",
      "task.turns",
      "evaluation.num_samples",
      "verifier.memory_mb",
      "shaping.short_penalty",
      "asynchronous.lag",
      "asynchronous.sampler_devices",
  ):
    checks.at_least("config", 0, **{field: field_at(config, field)})
  tolerance = {"shaping.short_tolerance": config.shaping.short_tolerance}
  checks.within("config", 0.0, low_open=True, **tolerance)
  for k in config.evaluation.pass_at:
    checks.at_least("config", 1, **{"evaluation.pass_at": k})
  _check_pass_at(config)
  for field in ("appeals.fraction", "appeals.audit_fraction", "appeals.decay"):
    checks.probability("config", **{field: field_at(config, field)})
  rlvr_recipe_calls.check(config)
  if {config.verifier.name, config.verifier.trusted} & {"trl", "tunix"}:
    verifying.user_function(config.verifier.function)
  rlvr_rewards.check(config)
  rlvr_curricula.check(config)
  rlvr_steps.check(config)
  rlvr_imitation.check(config)
  rlvr_sampling.check(config)
  rlvr_turns.check(config)
  rlvr_teacher_config.check(config)
  _check_wordings(config)
  _check_pretrained(config)
  _check_asynchronous(config)
  _check_rates(config, "noise")
  _check_rates(config, "correction")
  _check_groups(config)


def _check_wordings(config) -> None:
  """Two wordings of a problem stand one above the other."""
  task_rows.rewording(config.task)
  if not config.task.rewording:
    return
  for field in ("sampling.batch_size", "warm_up.batch_size"):
    size = field_at(config, field)
    if size % 2:
      raise ValueError(
          f"config.{field} must be even with config.task.rewording, got {size}."
      )


def _check_pass_at(config) -> None:
  drawn = config.evaluation.num_samples or config.sampling.group_size
  largest = max(config.evaluation.pass_at, default=0)
  sampled = config.verifier.trusted != "tokens" or config.task.answer_mark
  sampled = sampled or config.task.turns
  if sampled and largest > drawn:
    raise ValueError(
        f"config.evaluation.pass_at = {largest} needs as many samples of each "
        f"held-out problem, config.evaluation.num_samples draws {drawn}."
    )


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
            f"config.{field} = {field_at(config, field)!r} needs a pretrained "
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


def _check_asynchronous(config) -> None:
  o, field, recipe = config.asynchronous, "surrogate", rlvr_recipes.of(config)
  weighs = config.surrogate.name != "score"
  if recipe is not None:
    field, weighs = "recipe", recipe.has_ratio
  if o.lag and not weighs and config.off_policy.correction == "none":
    raise ValueError(
        f"config.asynchronous.lag = {o.lag} samples from older parameters, "
        f"and config.{field}.name {config[field].name!r} does not weigh them: "
        "set config.off_policy.correction."
    )


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
  field, name = "credit.estimator", credit.estimator
  grouped = credit.name == "group" and name in rlvr_stages.NEEDS_GROUP
  if config.recipe.name:
    field, name = "recipe.name", config.recipe.name
    grouped = name in rlvr_recipes.NEEDS_GROUP
  if grouped and sampling.group_size < 2:
    raise ValueError(
        f"config.sampling.group_size must be at least 2 for config.{field} "
        f"{name!r}, got {sampling.group_size}: a lone sample has nothing to "
        "compare with."
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


def check_processes(arms: Iterable[mlc.ConfigDict]) -> None:
  """Raises ValueError if text would be judged on several processes.

  Apart from `check`: counting processes starts the backend, and the command
  splits the CPU into devices before that.
  """
  if jax.process_count() == 1:
    return
  for arm in arms:
    for field in rlvr_measures.reads_text(arm):
      raise ValueError(
          f"config.{field} = {field_at(arm, field)!r} has text read, which "
          f"{jax.process_count()} processes cannot."
      )
    for field in ("name", "trusted"):
      if arm.verifier[field] != "tokens":
        raise ValueError(
            f"config.verifier.{field} must be 'tokens' on "
            f"{jax.process_count()} processes, got {arm.verifier[field]!r}."
        )


def field_at(config, path: str):
  """What stands at `path`, such as "task.name"."""
  for name in path.split("."):
    config = config[name]
  return config
