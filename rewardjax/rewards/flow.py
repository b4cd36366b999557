"""How untypical hidden states are under a flow trained on good answers.

A flow learns to carry noise e to states h along x_t = t h + (1 - t) e, whose
velocity is h - e. Where its guess of the velocity is far off, the state is
unlike those it was trained on, and the token costs a little.

The network enters as velocities already computed, so that any will do:

    x, target = noisy_states(hidden, noise, time)
    losses = velocity_deviation(net(x, time, condition, layer), target)

References:
  "RLFR: Extending Reinforcement Learning for LLMs with Flow Environment".
  Lipman et al., "Flow Matching for Generative Modeling", 2023.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def noisy_states(
    hidden: Float[Array, "*batch D"],
    noise: Float[Array, "*batch D"],
    time: Float[Array, "*#batch"],
) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch D"]]:
  """x_t = t h + (1 - t) e, and its velocity h - e.

  Args:
    hidden: states of the observed model; held constant, or the flow would
      teach the model to be predictable.
    noise: standard normal.
    time: in [0, 1]; 1 is data.

  Gradient: none.

  Raises:
    ValueError: if shapes do not fit.
  """
  checks.same_shape("noisy_states", hidden=hidden, noise=noise)
  checks.broadcasts_to("noisy_states", hidden.shape[:-1], time=time)
  hidden = masking.as_accumulator(jax.lax.stop_gradient(hidden))
  time = time[..., None]
  return time * hidden + (1 - time) * noise, hidden - noise


def velocity_deviation(
    velocities: Float[Array, "*batch D"], targets: Float[Array, "*batch D"]
) -> Float[Array, "*batch"]:
  """Mean over D of the squared error: the loss of the flow, per token.

  Gradient: flows through `velocities`; `targets` are held.
  """
  checks.same_shape(
      "velocity_deviation", velocities=velocities, targets=targets
  )
  velocities = masking.as_accumulator(velocities)
  return jnp.mean(
      jnp.square(velocities - jax.lax.stop_gradient(targets)), axis=-1
  )


def neighbor_condition(
    hidden: Float[Array, "*batch T D"],
    mask: Bool[Array, "*batch T"],
    *,
    offset: int = 1,
    kind: Literal["before", "after", "itself"] = "before",
) -> Float[Array, "*batch T D"]:
  """The state `offset` tokens before or after each; 0 where there is none.

  Gradient: none.

  Raises:
    ValueError: if `kind` is no choice or `offset` is not positive.
  """
  where = "neighbor_condition"
  checks.one_of(where, ("before", "after", "itself"), kind=kind)
  checks.at_least(where, 1, offset=offset)
  checks.same_shape(where, mask=mask, tokens=hidden[..., 0])
  hidden = jax.lax.stop_gradient(hidden)
  hidden = jnp.where(mask[..., None], hidden, jnp.zeros_like(hidden))
  if kind == "itself":
    return hidden
  shift = offset if kind == "before" else -offset
  moved = jnp.roll(hidden, shift, axis=-2)
  slots = jnp.arange(hidden.shape[-2])
  source = slots - shift
  inside = (source >= 0) & (source < hidden.shape[-2])
  return jnp.where(inside[:, None], moved, jnp.zeros_like(moved))


def flow_score(
    deviations: Float[Array, "K *batch T"], times: Float[Array, " K"]
) -> Float[Array, "*batch T"]:
  """Mean over K draws of t / (1 - t) times the deviation; high is untypical.

  One draw of noise is too few: average at least four, over times, noises and
  layers.

  Args:
    deviations: one for each of K (time, noise, layer).
    times: of each, below 1.

  Gradient: none; a score is data.

  Raises:
    ValueError: if there are not as many times as deviations.
  """
  draws = deviations.reshape(len(deviations), -1)[:, 0]
  checks.same_shape("flow_score", times=times, draws=draws)
  deviations = masking.as_accumulator(jax.lax.stop_gradient(deviations))
  weights = times / (1 - times)
  return jnp.mean(
      weights.reshape((-1,) + (1,) * (deviations.ndim - 1)) * deviations, axis=0
  )


def flow_reward(
    scores: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    coefficient: Scalar = 0.01,
    threshold: Scalar = 0.6,
    bilateral: bool = False,
) -> Float[Array, "*batch T"]:
  """-coefficient times the score, scaled to [0, 1] in its sequence.

  Only tokens above the threshold count. Negative, since high scores belong to
  untypical states. A sequence of equal scores gets 0.

  Args:
    scores: of `flow_score`.
    mask: True on sampled tokens; others take no part in the scale.
    coefficient: reward units of the worst token.
    threshold: on the scaled score, in [0, 1].
    bilateral: scales to [-1, 1] and also keeps what is below -threshold: very
      typical tokens are paid (static).

  Gradient: none.

  Raises:
    ValueError: if shapes differ or `threshold` is no probability.
  """
  checks.same_shape("flow_reward", scores=scores, mask=mask)
  checks.probability("flow_reward", threshold=threshold)
  scores = jax.lax.stop_gradient(scores)
  extreme = lambda fill, choose: choose(
      masking.fill_masked(scores, mask, fill), axis=-1, keepdims=True
  )
  high, low = extreme(-jnp.inf, jnp.max), extreme(jnp.inf, jnp.min)
  span = jnp.where(high > low, high - low, 0.0)
  shifted = masking.fill_masked(scores, mask) - jnp.where(span > 0, low, 0.0)
  scaled = masking.safe_divide(shifted, jnp.broadcast_to(span, mask.shape))
  if bilateral:
    scaled = 2 * scaled - 1
  kept = mask & (jnp.abs(scaled) > threshold) & (span > 0)
  return jnp.where(kept, -coefficient * scaled, 0.0)
