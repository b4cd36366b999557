"""How a recipe of `rlvr_recipes` is called: its options, needs and halves.

Axes: B prompts, G samples, T tokens.
"""

import functools
import inspect
from collections.abc import Callable

from experiments.rlvr_recipes import Needs, Recipe, Scored, Trained, of
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes.credit import Credit
from rewardjax.recipes.losses import Anchor
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
}


@functools.cache
def _keywords(function: Callable) -> dict:
  """Keyword-only parameters, by name, and what they are if not given."""
  found = {}
  for name, parameter in inspect.signature(function).parameters.items():
    if parameter.kind is parameter.KEYWORD_ONLY:
      found[name] = parameter.default
    elif parameter.kind is parameter.VAR_KEYWORD:
      found |= dict.fromkeys(Anchor.__annotations__, parameter.empty)
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
  return defaults | recipe.of_task(config) | dict(config.recipe.options)


def needs(config) -> Needs:
  """What the arm reads, whether it is a recipe or made of stages."""
  recipe = of(config)
  if recipe is None:
    o = config.regularizer
    anchored = bool(o.kl_coefficient or o.kl_in_reward)
    return Needs(config.credit.name == "gae", anchored)
  anchored = bool(options_of(config).get("kl_coefficient", 0))
  return recipe.needs._replace(reference=anchored)


def _chosen(function: Callable, options: dict) -> dict:
  names = _keywords(function)
  return {k: v for k, v in options.items() if k in names}


def law(config, rollouts: Rollouts, reward: Reward, plain: SamplingLaw):
  """The law that the samples are scored by a second time."""
  recipe = of(config)
  options = _chosen(recipe.law, options_of(config))
  return recipe.law(rollouts, reward, plain, **options)


def credit(
    config, rollouts: Rollouts, reward: Reward, scored: Scored
) -> Credit:
  """The recipe's credit half, on the whole batch."""
  recipe, options = of(config), options_of(config)
  data = {
      "reference_log_probs": scored.reference,
      "tempered_log_probs": scored.by_law,
  }
  options = {k: options[k] for k in recipe.shared}
  positional = (scored.values,) if recipe.needs.critic else ()
  data = {k: v for k, v in data.items() if k in _keywords(recipe.credit)}
  return recipe.credit(rollouts, reward, *positional, **data, **options)


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
  given = _chosen(recipe.loss, data | options_of(config))
  found, metrics = recipe.loss(trained.log_probs, rollouts, credit, **given)
  # Reported for all arms alike, as a mean over tokens.
  metrics.pop("entropy", None)
  return found, metrics
