"""What `config.recipe.name` may be: papers, as `rewardjax.recipes` has them.

A recipe takes the place of the stages credit, surrogate, reducer and
regularizer. Its options are the keywords of its functions; what a paper
leaves to the task is read off the task. Axes: B prompts, G samples, T tokens.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from experiments.choices import choose
from rewardjax.advantages import group, quantile
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes import (
    actor_critic,
    decomposition,
    exploration,
    exploration_credit,
    flow,
    oreal,
    policy_gradient,
    process,
    two_level,
)
from rewardjax.recipes.credit import (
    dapo_credit,
    gae_credit,
    group_credit,
    return_credit,
)
from rewardjax.types import Reward


def own_length(config) -> int:
  """How many tokens of its own a sample has at most: a turn has one."""
  return config.task.turns or config.task.answer_length


class Needs(NamedTuple):
  """What has to be computed beside the policy's own log-probs."""

  critic: bool = False
  reference: bool = False  # log-probs of the first policy
  law: bool = False  # log-probs at the start of the batch, by another law
  demonstrations: bool = False  # log-probs of the reference answers
  coefficient: float = 0.0  # of implicit rewards that a model is trained by


class StepScores(NamedTuple):
  """What a scorer says of samples made of steps; see `rlvr_steps`.

  tokens: of each token, in the scorer's own unit: a logit, a log-prob.
  values: of each step.
  ids: the step of each token, -1 for none.
  mask: True for steps with a score.
  """

  tokens: Float[Array, "B G T"]
  values: Float[Array, "B G K"]
  ids: Int[Array, "B G T"]
  mask: Bool[Array, "B G K"]


class Scored(NamedTuple):
  """What parameters that are not in training say; None where not needed."""

  reference: Float[Array, "B G T"] | None = None
  by_law: Float[Array, "B G T"] | None = None
  values: Float[Array, "B G T"] | None = None
  steps: StepScores | None = None
  gained: Reward | None = None  # of turns `[B, G, K]`, by the world


class Trained(NamedTuple):
  """What the parameters in training say; all but the last two carry gradient.

  weight: of the demonstrations, where it is learned.
  """

  log_probs: Float[Array, "B G T"]
  entropies: Float[Array, "B G T"]
  values: Float[Array, "B G T"]
  demonstration_log_probs: Float[Array, "B 1 T"] | None = None
  demonstration_mask: Bool[Array, "B 1 T"] | None = None
  weight: Float[Array, ""] | None = None


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
  scorers: tuple[str, ...] = ()  # of config.steps, that it reads


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
        of_task=lambda config: dict(length=own_length(config)),
    ),
    # The paper's buffer is 4,096 of 20,480 tokens.
    "dapo": Recipe(
        policy_gradient.dapo,
        dapo_credit,
        ("max_length", "buffer", "factor", "drop_truncated"),
        of_task=lambda config: dict(
            max_length=own_length(config),
            buffer=max(1, own_length(config) // 5),
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
        scorers=("none", "outcome"),
    ),
}
# Papers that are paid by steps: they need config.steps.
STEP_RECIPES = {
    "oprl": Recipe(
        two_level.oprl,
        two_level.oprl_credit,
        ("coefficient", "weight", "estimator"),
        scorers=("process",),
    ),
    "tp_grpo": Recipe(
        two_level.tp_grpo,
        two_level.thought_credit,
        ("weight",),
        scorers=("progress", "likelihood", "judge", "reference"),
    ),
    "ppr": Recipe(
        process.ppr,
        process.ppr_credit,
        ("normalize", "decay"),
        Needs(critic=True),
        scorers=("judge", "likelihood"),
    ),
    "reward_refinement": Recipe(
        process.reward_refinement,
        process.refined_credit,
        ("threshold", "delta", "weight", "decay"),
        Needs(critic=True),
        scorers=("judge", "likelihood", "progress", "reference"),
    ),
    "rlfr": Recipe(
        flow.rlfr,
        flow.flow_credit,
        ("discount", "coefficient", "threshold", "bilateral"),
        scorers=("flow",),
    ),
    "lare": Recipe(
        decomposition.lare,
        decomposition.lare_credit,
        ("decay",),
        Needs(critic=True),
        scorers=("returns",),
    ),
}
# Group statistics of one sample say nothing.
NEEDS_GROUP = set(RECIPES | STEP_RECIPES) - {
    "reinforce", "reinforce_pp", "ppo", "stable_reinforce", "ppr",
    "reward_refinement", "lare",
}


def of(config) -> Recipe | None:
  """The recipe of an arm; None if it is made of stages."""
  name = config.recipe.name
  return choose("recipe.name", RECIPES | STEP_RECIPES, name) if name else None
