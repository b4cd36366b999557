"""From noise to data: chains with log-densities, and the exact flow.

A model is `(x [N, ...], t [N]) -> output [N, ...]`; whatever it is
conditioned on is inside it. A chain of T steps is a policy of T actions,
each Gaussian: its log-densities are what a policy gradient needs.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import checks, masking
from rewardjax.diffusion import schedules, transitions
from rewardjax.diffusion.schedules import Kind, Samples, Schedule
from rewardjax.diffusion.transitions import Sampler
from rewardjax.types import Scalar

Model = Callable[[Array, Array], Array]


class Process(NamedTuple):
  """What sampling and recomputing must agree on, or ratios are not 1.

  schedule: of the noise.
  kind: what the model predicts.
  sampler: see `transitions.transition_coeffs`.
  eta: how much noise is drawn anew.
  """

  schedule: Schedule
  kind: Kind
  sampler: Sampler
  eta: Scalar = 1.0


class Trajectory(NamedTuple):
  """A chain from noise, `x[0]`, to data, `x[-1]`.

  mean: of each step's Gaussian.
  std: of each step.
  log_probs: of each step, summed over the event, in nats; 0 where masked.
  mask: True for steps that draw noise; the others are deterministic.
  """

  x: Float[Array, "K N *event"]
  mean: Float[Array, "T N *event"]
  std: Float[Array, " T"]
  log_probs: Float[Array, "T N"]
  mask: Bool[Array, " T"]


def gaussian_log_prob(x: Samples, mean: Samples, std: Array) -> Array:
  """log N(x; mean, std^2 I) summed over the event, `[N]`, in nats.

  Gradient: flows through all arguments.
  """
  flat = lambda x: x.reshape(x.shape[0], math.prod(x.shape[1:]))
  x, mean = flat(masking.as_accumulator(x)), flat(mean)
  squares = jnp.sum(jnp.square((x - mean) / std), axis=-1)
  size = jnp.asarray(x.shape[-1], x.dtype)
  return -0.5 * squares - size * (jnp.log(std) + 0.5 * math.log(2 * math.pi))


def _coefficients(process, times, stochastic):
  """A, B, S of all steps, deterministic ones where told; and their mask."""
  checks.same_shape("rollout", stochastic=stochastic, steps=times[1:])
  of = functools.partial(
      transitions.transition_coeffs,
      schedule=process.schedule,
      t=times[:-1],
      t_next=times[1:],
  )
  noisy = of(process.sampler, eta=process.eta, latest=times[1])
  mask = noisy.std > 0
  mask = mask if stochastic is None else mask & stochastic
  choose = lambda x, y: jnp.where(mask, x, y)
  return jax.tree.map(choose, noisy, of("ode")), mask


def _step_mean(model, process, x, t, step):
  output = model(x, jnp.full(x.shape[:1], t, x.dtype))
  ends = schedules.to_x0_eps(process.schedule, output, x, t, kind=process.kind)
  return step.x0 * ends.x0 + step.eps * ends.eps


def _log_prob(x, mean, std, drawn):
  found = gaussian_log_prob(x, mean, jnp.where(drawn, std, 1.0))
  return jnp.where(drawn, found, 0.0)


def rollout(
    key: Key[Array, ""],
    model: Model,
    x: Samples,
    times: Float[Array, " K"],
    *,
    process: Process,
    stochastic: Bool[Array, " T"] | None = None,
) -> Trajectory:
  """Runs a chain from `x` at `times[0]` to `times[-1]`.

  Args:
    key: consumed.
    model: see the module (static).
    x: where to start, such as standard normal noise at t = 1.
    times: T + 1 of them, descending, see `schedules.time_grid`.
    process: the sampler.
    stochastic: True for steps that may draw noise; the others follow `ode`.
      None means all.

  Returns:
    A `Trajectory`; a step whose std is 0 is masked.

  Gradient: flows through the chain; hold it constant to use it as data.

  Raises:
    ValueError: if shapes do not fit or a choice is none.
  """
  steps, mask = _coefficients(process, times, stochastic)
  x = masking.as_accumulator(x)

  def advance(x, inputs):
    key, t, step, drawn = inputs
    mean = _step_mean(model, process, x, t, step)
    new = mean + step.std * jax.random.normal(key, x.shape, x.dtype)
    return new, (new, mean, _log_prob(new, mean, step.std, drawn))

  keys = jax.random.split(key, times.shape[0] - 1)
  _, (path, means, log_probs) = jax.lax.scan(
      advance, x, (keys, times[:-1], steps, mask)
  )
  path = jnp.concatenate([x[None], path])
  return Trajectory(path, means, steps.std, log_probs, mask)


def step_log_probs(
    model: Model,
    path: Float[Array, "K N *event"],
    times: Float[Array, " K"],
    *,
    process: Process,
    stochastic: Bool[Array, " T"] | None = None,
) -> Float[Array, "T N"]:
  """Log-densities of the steps of a path under another model, in nats.

  Args:
    model: such as the one that is trained.
    path: `Trajectory.x`; held.
    times: those of the `rollout`, as are `process` and `stochastic`.
    process: the sampler.
    stochastic: steps that drew noise; the others get 0.

  Gradient: flows through `model`.
  """
  steps, mask = _coefficients(process, times, stochastic)
  path = jax.lax.stop_gradient(path)

  def one(x, new, t, step, drawn):
    mean = _step_mean(model, process, x, t, step)
    return _log_prob(new, mean, step.std, drawn)

  return jax.vmap(one)(path[:-1], path[1:], times[:-1], steps, mask)


def euler(velocity: Model, x: Samples, times: Float[Array, " K"]) -> Samples:
  """Follows dx/dt = velocity(x, t) along the grid, one call a step.

  Args:
    velocity: at `x [N, ...]` and `t [N]` (static).
    x: at `times[0]`.
    times: of the grid; a velocity that is infinite at t = 1 or 0 needs a
      grid that keeps off it.

  Gradient: flows through the integration.
  """
  return _integrate(velocity, x, times, corrected=False)


def heun(velocity: Model, x: Samples, times: Float[Array, " K"]) -> Samples:
  """`euler`, with the mean of the velocities at both ends: two calls a step.

  Gradient: flows through the integration.
  """
  return _integrate(velocity, x, times, corrected=True)


def _integrate(velocity, x, times, *, corrected):
  def advance(x, ends):
    now, then = (jnp.full(x.shape[:1], t, x.dtype) for t in ends)
    step = ends[1] - ends[0]
    slope = velocity(x, now)
    if corrected:
      slope = 0.5 * (slope + velocity(x + step * slope, then))
    return x + step * slope, None

  x = masking.as_accumulator(x)
  return jax.lax.scan(advance, x, (times[:-1], times[1:]))[0]
