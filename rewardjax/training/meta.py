"""Learning how much to imitate while exploring: one weight, by look-ahead.

An update mixes two gradients, (1 - w) g_rl + w g_sft. The weight w ascends
the value U that the *next* parameters reach on validation data:

    one_step_slope     dU/dw for plain gradient descent, in closed form
    lookahead_slope    dU/dw through the optimiser that is really used

The two agree for plain descent. An optimiser that rescales its step, such as
Adam, turns most of a change of w into a change of direction, and only the
second one knows. Both look one step ahead: w is myopic.

References:
  "AMFT: Aligning LLM Reasoners by Meta-Learning the Optimal
    Imitation-Exploration Balance"; entropy term and step are reconstructed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.types import Scalar


def mixed_loss(
    exploration: Mean, imitation: Mean, *, weight: Scalar
) -> Mean:
  """(1 - weight) times one mean plus weight times another.

  Args:
    exploration: the loss of sampled tokens.
    imitation: the loss of demonstrated tokens.
    weight: in [0, 1].

  Returns:
    A mean that counts as much as `exploration` did, so that microbatches add
    up to the whole batch if each holds its share of the demonstrations; one
    that counts 1 if nothing was sampled.

  Raises:
    ValueError: if `weight` is not in [0, 1].
  """
  checks.probability("mixed_loss", weight=weight)
  empty = exploration.weight == 0
  count = jnp.where(empty, 1.0, exploration.weight)
  imitated = weight * imitation.value * count
  return Mean((1 - weight) * exploration.total + imitated, count)


def mix(
    exploration: PyTree, imitation: PyTree, *, weight: Scalar
) -> PyTree:
  """(1 - weight) times one gradient plus weight times another."""
  checks.probability("mix", weight=weight)
  blend = lambda x, y: (1 - weight) * x + weight * y
  return jax.tree.map(blend, exploration, imitation)


def one_step_slope(
    validation: PyTree,
    exploration: PyTree,
    imitation: PyTree,
    *,
    learning_rate: Scalar,
) -> Float[Array, ""]:
  """dU/dw = -learning_rate <grad U(next params), g_sft - g_rl>.

  Args:
    validation: gradient of the value U, which is *maximised*, at the
      parameters after the mixed step; on data the step has not seen.
    exploration: g_rl, gradient of a loss, at the parameters before.
    imitation: g_sft, likewise.
    learning_rate: of the plain gradient descent that made the step.
  """
  difference = jax.tree.map(jnp.subtract, imitation, exploration)
  return -learning_rate * optax.tree.vdot(validation, difference)


def lookahead_slope(
    value: Callable[[PyTree], Float[Array, ""]],
    weight: Scalar,
    params: PyTree,
    exploration: PyTree,
    imitation: PyTree,
    *,
    optimizer: optax.GradientTransformation,
    opt_state: optax.OptState,
) -> Float[Array, ""]:
  """dU/dw through the optimiser's own update.

  Args:
    value: U of parameters, on data the step has not seen; maximised.
    weight: w, where the slope is taken.
    params: before the step.
    exploration: g_rl at `params`.
    imitation: g_sft at `params`.
    optimizer: of the step (static).
    opt_state: before the step; it is not advanced.
  """

  def reached(weight):
    gradients = mix(exploration, imitation, weight=weight)
    updates, _ = optimizer.update(gradients, opt_state, params)
    return value(optax.apply_updates(params, updates))

  return jax.grad(reached)(jnp.asarray(weight, float))


def next_weight(
    weight: Scalar,
    slope: Scalar,
    *,
    step_size: Scalar,
    entropy: Scalar = 0.0,
    entropy_target: Scalar = 0.0,
    entropy_step: Scalar = 0.0,
    largest_change: Scalar = 0.05,
    low: Scalar = 0.02,
    high: Scalar = 0.98,
) -> Float[Array, ""]:
  """w moved up the slope, and towards imitation where entropy is lacking.

      w + clip(step_size dU/dw + entropy_step (entropy_target - entropy))

  Args:
    weight: the present one.
    slope: dU/dw.
    step_size: of the ascent.
    entropy: of the policy, in nats per token.
    entropy_target: below it imitation is asked for, above it exploration.
    entropy_step: change of the weight per nat; 0 ignores the entropy.
    largest_change: bound on the change of one call.
    low: smallest weight.
    high: largest weight.

  Raises:
    ValueError: unless 0 <= low <= high <= 1 and the change is not negative.
  """
  checks.probability("next_weight", low=low, high=high)
  checks.at_least("next_weight", 0, largest_change=largest_change)
  if isinstance(low, int | float):
    checks.at_least("next_weight", low, high=high)
  change = step_size * jnp.asarray(slope, float)
  change = change + entropy_step * (entropy_target - entropy)
  change = jnp.clip(change, -largest_change, largest_change)
  return jnp.clip(weight + change, low, high)
