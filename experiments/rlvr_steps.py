"""Scores of tokens and steps in `experiments.rlvr`, for recipes that read them.

    samples -> steps -> scorer -> what the recipe makes of it, on its tokens

`config.steps` says where a step ends and who scores it. Some scorers are the
policy itself; others are models that learn from the same batches, after the
policy, with an optimiser of their own (`rlvr_step_models`). Everything is
pure and of one seed. Axes: B prompts, G samples, T tokens, K steps.
"""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from experiments import rlvr_policy, rlvr_recipes
from experiments.choices import choose
from experiments.rlvr_policy import Setup
from experiments.rlvr_recipes import Scored, StepScores
from experiments.rlvr_scorers import SCORERS, Asked
from experiments.rlvr_step_models import MODELS, Read
from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.recipes import two_level
from rewardjax.reward_models import factors
from rewardjax.rewards import marks
from rewardjax.training.state import init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Reward, Rollouts


def is_on(config) -> bool:
  """Whether steps are scored at all."""
  return config.steps.scorer != "none"


def num_steps(config) -> int:
  """K, as many steps as a sample may have."""
  o = config.steps
  return o.most if o.separator else -(-config.task.answer_length // o.every)


def init(setup: Setup, key: Key[Array, ""], params: PyTree) -> PyTree:
  """What a scorer remembers before the first step; `key` is consumed."""
  model = MODELS.get(setup.config.steps.scorer)
  if model is None:
    return ()
  start = model.init(setup, key, params)
  return init_state(start, optimizer(setup.config))


def optimizer(config) -> optax.GradientTransformation:
  """Of the scorer's model: clipping by global norm, then Adam."""
  return optax.chain(
      optax.clip_by_global_norm(config.steps.max_grad_norm),
      optax.adam(config.steps.learning_rate),
  )


def read(
    setup: Setup, params: PyTree, rollouts: Rollouts, reward: Reward
) -> Read | None:
  """Steps of the samples, and their states where a model reads these."""
  o = setup.config.steps
  if not is_on(setup.config):
    return None
  ids = marks.step_ids(
      rollouts.tokens,
      rollouts.mask,
      separator=setup.separator,
      every=o.every,
      num_steps=num_steps(setup.config),
      stop_tokens=setup.stop_tokens,
  )
  present = two_level.present_steps(
      ids, rollouts.mask, num_steps=num_steps(setup.config)
  )
  model = MODELS.get(o.scorer)
  states = None
  if model is not None and model.reads_states:
    states = rlvr_policy.states(setup, params, rollouts)
  return Read(rollouts, reward, ids, present, states)


def score(setup: Setup, agent, key, problems, read: Read, scored: Scored):
  """`scored` with what the config's scorer says of the steps.

  Args:
    setup: of the arms.
    agent: `rlvr_learner.Agent` before its update.
    key: consumed by "flow" alone.
    problems: that the samples answer.
    read: see `read`; None leaves `scored` as it is.
    scored: of the same samples.
  """
  if read is None:
    return scored
  model = agent.steps.params if agent.steps else ()
  asked = Asked(problems, read, scored, agent.train.params, model)
  found = SCORERS[setup.config.steps.scorer](setup, key, asked)
  return scored._replace(steps=found)


def learn(setup: Setup, state: PyTree, key, read: Read) -> tuple[PyTree, dict]:
  """One update of the scorer's model on the batch, after the policy's."""
  model = MODELS.get(setup.config.steps.scorer)
  if model is None:
    return state, {}
  step = make_train_step(
      lambda params, batch, key: (model.loss(setup, params, batch, key), {}),
      optimizer(setup.config),
      num_microbatches=setup.config.num_microbatches,
      compute_dtype=setup.config.compute_dtype or None,
  )
  state, found = step(state, read, key)
  return state, {f"steps/{name}": found[name] for name in ("loss", "grad_norm")}


def metrics(steps: StepScores | None) -> dict[str, Array]:
  """The mean score of a step, and how many steps a sample has."""
  if steps is None:
    return {}
  number = jnp.sum(steps.mask, axis=-1).astype(jnp.float32)
  found = {"steps/score": Mean.of(steps.values, steps.mask)}
  found["steps/number"] = Mean.of(number)
  return {name: mean.value for name, mean in found.items()}


def check(config) -> None:
  """Raises ValueError, naming the field, unless the steps make sense."""
  o, recipe = config.steps, rlvr_recipes.of(config)
  choose("steps.scorer", dict.fromkeys(("none", *SCORERS)), o.scorer)
  known = ("none",) if recipe is None else recipe.scorers or ("none",)
  if o.scorer not in known:
    raise ValueError(
        f"config.steps.scorer must be one of {', '.join(known)} for "
        f"config.recipe.name {config.recipe.name!r}, got {o.scorer!r}."
    )
  sizes = {f"steps.{x}": o[x] for x in ("every", "most", "draws")}
  checks.at_least("config", 1, **sizes)
  hidden = {"steps.hidden": o.hidden}
  checks.at_least("config", int(o.scorer == "flow"), **hidden)
  positive = ("learning_rate", "max_grad_norm")
  for field in positive:
    checks.within(
        "config", 0.0, low_open=True, **{f"steps.{field}": o[field]}
    )
  checks.within(
      "config", 0.0, 1.0, high_open=True, **{"steps.time": o.time}
  )
  for text in o.factors:
    try:
      factors.compile_factor(text)
    except factors.FactorError as error:
      raise ValueError(f"config.steps.factors: {text!r}: {error}") from error
  if o.subset:  # of one step nothing is known of its variance
    checks.at_least("config", 2, **{"steps.subset": o.subset})
