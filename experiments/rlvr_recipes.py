"""What `config.recipe.name` may be: papers, as `rewardjax.recipes` has them.

A recipe takes the place of the stages credit, surrogate, reducer and
regularizer. Its options are the keywords of its functions; what a paper
leaves to the task is read off the task. Axes: B prompts, G samples, T tokens.
"""

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxtyping import Array, Bool, Float

from experiments.choices import choose
from rewardjax.advantages import group, quantile
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes import (
    actor_critic,
    exploration,
    exploration_credit,
    oreal,
    policy_gradient,
)
from rewardjax.recipes.credit import (
    Credit,
    dapo_credit,
    gae_credit,
    group_credit,
    return_credit,
)
from rewardjax.recipes.losses import Anchor
from rewardjax.types import Reward, Rollouts


class Needs(NamedTuple):
  """What has to be computed beside the policy's own log-probs."""

  critic: bool = False
  reference: bool = False  # log-probs of the first policy
  law: bool = False  # log-probs at the start of the batch, by another law
  demonstrations: bool = False  # log-probs of the reference answers


class Scored(NamedTuple):
  """What parameters that are not in training say; None where not needed."""

  reference: Float[Array, "B G T"] | None = None
  by_law: Float[Array, "B G T"] | None = None
  values: Float[Array, "B G T"] | None = None


class Trained(NamedTuple):
  """What the parameters in training say; all but the mask carry gradient."""

  log_probs: Float[Array, "B G T"]
  entropies: Float[Array, "B G T"]
  values: Float[Array, "B G T"]
  demonstration_log_probs: Float[Array, "B 1 T"] | None = None
  demonstration_mask: Bool[Array, "B 1 T"] | None = None


class Recipe(NamedTuple):
  """One paper: its two halves, and what they read."""

  loss: Callable  # (log_probs, rollouts, credit, **) -> loss, metrics
  credit: Callable  # (rollouts, reward, **) -> Credit, of the whole batch
  shared: tuple[str, ...] = ()  # options that the credit half reads too
  needs: Needs = Needs()
  # What has no default there: options from the config of a task.
  of_task: Callable = lambda config: {}
  # (rollouts, reward, law, **) -> the law that samples are scored by as well.
  law: Callable | None = None
  has_ratio: bool = True  # whether a batch serves more than one update


def _filtered(rollouts, reward, law: SamplingLaw, *, min_p=0.02):
  del rollouts, reward
  return law._replace(min_p=min_p)


def _tempered(
    rollouts, reward, law: SamplingLaw, *, target=0.5, warm=1.2, cool=0.8
):
  temperature = exploration_credit.dcpo_temperature(
      rollouts, reward, target=target, warm=warm, cool=cool
  )
  return law._replace(temperature=law.temperature * temperature)


RECIPES = {
    "reinforce": Recipe(
        policy_gradient.reinforce,
        return_credit,
        ("kl_coefficient", "discount", "baseline"),
        has_ratio=False,
    ),
    "reinforce_pp": Recipe(
        policy_gradient.reinforce_pp,
        partial(return_credit, whiten=True),
        ("kl_coefficient", "discount"),
    ),
    "reinforce_pp_baseline": Recipe(
        policy_gradient.reinforce_pp_baseline,
        partial(group_credit, estimator=group.centered, whiten=True),
    ),
    "rloo": Recipe(
        policy_gradient.rloo,
        partial(group_credit, estimator=group.leave_one_out),
        ("kl_coefficient",),
    ),
    "grpo": Recipe(policy_gradient.grpo, group_credit),
    "dr_grpo": Recipe(
        policy_gradient.dr_grpo,
        partial(group_credit, estimator=group.centered),
        of_task=lambda config: dict(length=config.task.answer_length),
    ),
    # The paper's buffer is 4,096 of 20,480 tokens.
    "dapo": Recipe(
        policy_gradient.dapo,
        dapo_credit,
        ("max_length", "buffer", "factor", "drop_truncated"),
        of_task=lambda config: dict(
            max_length=config.task.answer_length,
            buffer=max(1, config.task.answer_length // 5),
        ),
    ),
    "gspo": Recipe(policy_gradient.gspo, group_credit),
    # The paper has no lower bound and tunes the upper one: DAPO's here.
    "cispo": Recipe(
        policy_gradient.cispo,
        group_credit,
        of_task=lambda config: dict(low=0.0, high=1.28),
    ),
    "ppo": Recipe(
        actor_critic.ppo,
        gae_credit,
        ("kl_coefficient", "discount", "decay"),
        Needs(critic=True),
    ),
    "lp_reg": Recipe(
        exploration.lp_reg,
        exploration_credit.lp_reg_credit,
        ("fraction",),
        Needs(law=True),
        law=_filtered,
    ),
    "unlikeliness": Recipe(
        exploration.unlikeliness,
        exploration_credit.unlikeliness_credit,
        ("coefficient",),
    ),
    "dcpo": Recipe(
        exploration.dcpo,
        exploration_credit.dcpo_credit,
        ("target", "cap", "threshold"),
        Needs(law=True),
        law=_tempered,
    ),
    "g2rpo": Recipe(
        exploration.g2rpo,
        partial(group_credit, estimator=quantile.gaussian_quantile),
    ),
    "stable_reinforce": Recipe(
        exploration.stable_reinforce,
        exploration_credit.stable_credit,
        ("kl_coefficient", "discount", "threshold"),
    ),
    "amft": Recipe(
        exploration.amft,
        group_credit,
        needs=Needs(demonstrations=True),
        of_task=lambda config: dict(weight=0.5),
    ),
    "oreal": Recipe(
        oreal.oreal,
        exploration_credit.oreal_credit,
        ("negative_coefficient",),
        has_ratio=False,
    ),
}
# Group statistics of one sample say nothing.
NEEDS_GROUP = set(RECIPES) - {
    "reinforce", "reinforce_pp", "ppo", "stable_reinforce"
}
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


def of(config) -> Recipe | None:
  """The recipe of an arm; None if it is made of stages."""
  name = config.recipe.name
  return choose("recipe.name", RECIPES, name) if name else None


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
