"""How a recipe of `rlvr_recipes` is called: its options, needs and halves.

Axes: B prompts, G samples, T tokens.
"""

import functools
import inspect
from collections.abc import Callable
from typing import get_args

from experiments.choices import choose
from experiments.rlvr_recipes import Needs, Recipe, Scored, Trained, of
from rewardjax.advantages import group
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes.credit import Credit
from rewardjax.shaping import renorm
from rewardjax.types import Reward, Rollouts

# Keywords of the functions that are data, or functions: no options.
_DATA = {
    "reference_log_probs",
    "tempered_log_probs",
    "proxy_log_probs",
    "entropies",
    "entropy",
    "values",
    "behavior_values",
    "bootstrap",
    "demonstration_log_probs",
    "demonstration_mask",
    "token_rewards",
    "kept",
    "ratio",
    "scores",
    "process_log_probs",
    "step_rewards",
    "step_ids",
    "step_mask",
    "labels",
    "num_steps",
    "success_rate",
    "early_rewards",
}
# Options that are functions, by the names they have in a config.
_FUNCTIONS = {
    "estimator": {
        "leave_one_out": group.leave_one_out,
        "centered": group.centered,
        "standardized": group.standardized,
    },
    "normalize": {
        "anchored": renorm.anchored_steps,
        "centered": renorm.centered_steps,
        "standardized": renorm.standardized_steps,
    },
}


@functools.cache
def _keywords(function: Callable) -> dict:
  """Keywords and data, by name, and what they are if not given."""
  found = {}
  for name, parameter in inspect.signature(function).parameters.items():
    if parameter.kind is parameter.KEYWORD_ONLY or name in _DATA:
      found[name] = parameter.default
    elif parameter.kind is parameter.VAR_KEYWORD:
      for unpacked in get_args(parameter.annotation):
        found |= dict.fromkeys(unpacked.__annotations__, parameter.empty)
  return found


def option_names(recipe: Recipe) -> list[str]:
  """What `config.recipe.options` may hold."""
  names = set(_keywords(recipe.loss))
  names |= set(_keywords(recipe.law)) if recipe.law else set()
  return sorted(names - _DATA)


def check(config) -> None:
  """Raises ValueError, naming the field, unless the recipe makes sense."""
  recipe, options = of(config), dict(config.recipe.options)
  if recipe is None:
    if options:
      raise ValueError(
          "config.recipe.options are read with a config.recipe.name only, got "
          f"{sorted(options)}."
      )
    return
  name, known = config.recipe.name, option_names(recipe)
  for option in options:
    if option not in known:
      raise ValueError(
          f"config.recipe.options.{option} is no option of {name!r}; choose "
          f"from {', '.join(known)}."
      )
  for option, table in _FUNCTIONS.items():
    if option in options:
      choose(f"recipe.options.{option}", table, options[option])
  for field in ("kl_in_reward", "kl_coefficient", "entropy_coefficient"):
    if config.regularizer[field]:
      raise ValueError(
          f"config.regularizer.{field} must be 0 with config.recipe.name "
          f"{name!r}, got {config.regularizer[field]}: a recipe has its own "
          "config.recipe.options.kl_coefficient."
      )
  if name == "unlikeliness" and config.correction.name != "none":
    raise ValueError(
        "config.correction.name must be 'none' with config.recipe.name "
        "'unlikeliness', whose rewards may not be negative; got "
        f"{config.correction.name!r}."
    )


def options_of(config) -> dict:
  """Every option of an arm's recipe that has a value."""
  recipe = of(config)
  keywords = _keywords(recipe.loss)
  if recipe.law:
    keywords = keywords | _keywords(recipe.law)
  defaults = {
      name: value
      for name, value in keywords.items()
      if name not in _DATA and value is not inspect.Parameter.empty
  }
  found = defaults | recipe.of_task(config) | dict(config.recipe.options)
  named = {k: v for k, v in found.items() if isinstance(v, str)}
  chosen = {k: _FUNCTIONS[k][v] for k, v in named.items() if k in _FUNCTIONS}
  return found | chosen


def needs(config) -> Needs:
  """What the arm reads, whether it is a recipe or made of stages."""
  recipe = of(config)
  if recipe is None:
    o = config.regularizer
    anchored = bool(o.kl_coefficient or o.kl_in_reward)
    return Needs(config.credit.name == "gae", anchored)
  options, scorer = options_of(config), config.steps.scorer
  anchored = bool(options.get("kl_coefficient", 0)) or scorer == "reference"
  found = recipe.needs._replace(reference=anchored)
  if scorer != "process":
    return found
  return found._replace(coefficient=float(options["coefficient"]))


def _of_steps(config, scored: Scored) -> dict:
  """What recipes call the scores of tokens and steps."""
  if (steps := scored.steps) is None:
    return {}
  names = ("process_log_probs", "token_rewards", "scores")
  return dict.fromkeys(names, steps.tokens) | {
      "step_rewards": steps.values,
      "labels": steps.mask & (steps.values >= config.steps.threshold),
      "step_ids": steps.ids,
      "step_mask": steps.mask,
      "num_steps": steps.mask.shape[-1],
  }


def _chosen(function: Callable, options: dict) -> dict:
  names = _keywords(function)
  return {k: v for k, v in options.items() if k in names}


def law(config, rollouts: Rollouts, reward: Reward, plain: SamplingLaw):
  """The law that the samples are scored by a second time."""
  recipe = of(config)
  options = _chosen(recipe.law, options_of(config))
  return recipe.law(rollouts, reward, plain, **options)


def credit(
    config, rollouts: Rollouts, reward: Reward, scored: Scored, early=None
) -> Credit:
  """The recipe's credit half, on the whole batch.

  `early` `[B, G, T]` is the part of a reward that is paid before the end, for
  recipes that have a place for it; None: no part.
  """
  recipe, options = of(config), options_of(config)
  data = {
      "reference_log_probs": scored.reference,
      "tempered_log_probs": scored.by_law,
      "values": scored.values,
      "early_rewards": early,
  }
  data = _chosen(recipe.credit, data | _of_steps(config, scored))
  options = {k: options[k] for k in recipe.shared}
  return recipe.credit(rollouts, reward, **data, **options)


def loss(
    config,
    rollouts: Rollouts,
    credit: Credit,
    scored: Scored,
    trained: Trained,
):
  """The recipe's loss and metrics, on any microbatch."""
  recipe = of(config)
  data = {
      "reference_log_probs": scored.reference,
      "proxy_log_probs": scored.by_law,
      "entropies": trained.entropies,
      "values": trained.values,
      "demonstration_log_probs": trained.demonstration_log_probs,
      "demonstration_mask": trained.demonstration_mask,
  }
  data |= _of_steps(config, scored) | options_of(config)
  if trained.weight is not None:
    data["weight"] = trained.weight
  given = _chosen(recipe.loss, data)
  found, metrics = recipe.loss(trained.log_probs, rollouts, credit, **given)
  # Reported for all arms alike, as a mean over tokens.
  metrics.pop("entropy", None)
  return found, metrics
