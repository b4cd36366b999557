"""Data guessed in one step from noisy data, so that rewards can be read.
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from rewardjax.core import masking
from rewardjax.diffusion import schedules
from rewardjax.diffusion.samplers import Model
from rewardjax.diffusion.schedules import Kind, Samples, Schedule
from rewardjax.types import Scalar


class Pair(NamedTuple):
  """Two guesses of the same data from almost the same noise."""

  first: Samples
  second: Samples


def one_step_x0(
    model: Model,
    x0: Samples,
    eps: Samples,
    t: Float[Array, " N"],
    *,
    schedule: Schedule,
    kind: Kind,
) -> Array:
  """What the model makes of data with noise of level t, in one step.

  Args:
    model: `(x [N, ...], t [N]) -> output`.
    x0: data.
    eps: standard normal.
    t: one time per sample.
    schedule: of the noise.
    kind: what the model predicts (static).

  Gradient: flows through the model, the data and the noise.

  Raises:
    ValueError: if shapes do not fit.
  """
  x = schedules.add_noise(schedule, x0, eps, t)
  output = masking.as_accumulator(model(x, t))
  return schedules.to_x0_eps(schedule, output, x, t, kind=kind).x0


def paired_generations(
    model: Model,
    x0: Samples,
    eps: Samples,
    t: Float[Array, " N"],
    *,
    step: Scalar,
    schedule: Schedule,
    kind: Kind,
) -> Pair:
  """`one_step_x0` at t and at t + step, with the same noise.

  Args: as `one_step_x0`; `step` is small, and t + step at most 1.

  References:
    "Ctrl-U: Robust Conditional Image Generation via Uncertainty-aware Reward
      Modeling".
  """
  at = lambda t: one_step_x0(model, x0, eps, t, schedule=schedule, kind=kind)
  return Pair(at(t), at(t + step))
