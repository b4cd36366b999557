"""How much an agent of `experiments.rlvr` imitates, learned while it trains.

The weight w of the demonstrations ascends what the next parameters earn. They
are judged by the next batch: it is drawn by them, of problems that the update
has not seen, and its policy gradient is computed anyway. What is remembered
until then is how the update would have moved with w,

    d params' / dw,   through the optimiser, of `training.meta.mix`

so that the slope is that of `training.meta.lookahead_slope`. Of one seed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from experiments import rlvr_recipe_calls
from rewardjax.core import checks, masking
from rewardjax.training import meta
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Rollouts


class Imitation(NamedTuple):
  """The weight of the demonstrations, and where the last update leant."""

  weight: Float[Array, ""]
  direction: PyTree  # d params / d weight


def is_on(config) -> bool:
  return config.imitation.learned


def init(config, params: PyTree) -> PyTree:
  """The recipe's own weight, before the first update."""
  if not is_on(config):
    return ()
  start = rlvr_recipe_calls.options_of(config)["weight"]
  zeros = jax.tree.map(jnp.zeros_like, params)
  return Imitation(jnp.asarray(start, jnp.float32), zeros)


def gradient(loss_fn, params: PyTree, batch, key, **options) -> PyTree:
  """The mean gradient of a loss as `make_train_step` computes it.

  `key` is consumed; `options` are those of `make_train_step`.
  """
  zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
  keep = optax.GradientTransformation(
      zeros, lambda grads, state, params: (zeros(grads), grads)
  )
  step = make_train_step(loss_fn, keep, **options)
  return step(init_state(params, keep), batch, key)[0].opt_state


def look_back(
    config, state: Imitation, exploration: PyTree, rollouts: Rollouts
) -> Float[Array, ""]:
  """The weight that the present batch asks for.

  Args:
    config: of the arm.
    state: after the last update.
    exploration: gradient of the loss of the samples, at the parameters that
      drew them: against it they earn more.
    rollouts: the samples; their log-probs estimate the entropy.
  """
  o = config.imitation
  return meta.next_weight(
      state.weight,
      -optax.tree.vdot(exploration, state.direction),
      step_size=o.step_size,
      entropy=-masking.masked_mean(rollouts.log_probs, rollouts.mask),
      entropy_target=o.entropy_target,
      entropy_step=o.entropy_step,
      largest_change=o.largest_change,
      low=o.low,
      high=o.high,
  )


def look_ahead(
    optimizer: optax.GradientTransformation,
    train: TrainState,
    weight: Float[Array, ""],
    exploration: PyTree,
    imitation: PyTree,
) -> Imitation:
  """What is to be remembered of an update that is about to be made."""

  def reached(weight):
    grads = meta.mix(exploration, imitation, weight=weight)
    return optimizer.update(grads, train.opt_state, train.params)[0]

  one = jnp.ones_like(weight)
  return Imitation(weight, jax.jvp(reached, (weight,), (one,))[1])


def advance(
    config,
    state: Imitation,
    optimizer: optax.GradientTransformation,
    train: TrainState,
    gradient_at: Callable,
    rollouts: Rollouts,
) -> Imitation:
  """The weight of the update that is about to be made, and where it leans.

  `gradient_at(weight)` is the mean gradient of the mixed loss on the batch.
  """
  zero, one = jnp.zeros(()), jnp.ones(())
  exploration, imitation = gradient_at(zero), gradient_at(one)
  weight = look_back(config, state, exploration, rollouts)
  return look_ahead(optimizer, train, weight, exploration, imitation)


def check(config) -> None:
  """Raises ValueError, naming the field, unless the weight can be learned."""
  o = config.imitation
  sizes = {f"imitation.{x}": o[x] for x in ("step_size", "largest_change")}
  checks.at_least("config", 0.0, **sizes)
  bounds = {f"imitation.{x}": o[x] for x in ("low", "high")}
  checks.probability("config", **bounds)
  checks.at_least("config", o.low, **{"imitation.high": o.high})
  if not is_on(config):
    return
  if config.recipe.name != "amft":
    raise ValueError(
        "config.imitation.learned needs config.recipe.name 'amft', got "
        f"{config.recipe.name!r}."
    )
  if config.updates_per_batch != 1:
    raise ValueError(
        "config.updates_per_batch must be 1 with config.imitation.learned: "
        "the weight looks one update ahead; got "
        f"{config.updates_per_batch}."
    )
