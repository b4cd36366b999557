"""Steering a sampler by a reward, without training it."""

from jaxtyping import Array

from rewardjax.core import checks, masking
from rewardjax.diffusion import schedules
from rewardjax.diffusion.schedules import Samples, Time
from rewardjax.types import Scalar


def flow_nrg_velocity(
    velocity: Samples, reward_gradient: Samples, t: Time, *, weight: Scalar
) -> Array:
  """v - weight t / (1 - t) grad r_t: flows to p(x) exp(weight r(x)).

  For rectified flow integrated from t = 1 down. `r_t` is a reward of noisy
  samples: exact is log E[exp(weight r(x0)) | x_t] / weight; a model trained
  on noised samples estimates E[r(x0) | x_t], the same for Gaussian data and
  a linear reward up to a constant.

  Args:
    velocity: v = eps - x0 of the model.
    reward_gradient: of r_t at x_t.
    t: below 1, where the factor is infinite: start a little later.
    weight: nats per reward unit.

  Gradient: flows through both arrays.

  Raises:
    ValueError: if shapes differ.

  References:
    Liu et al., "Improving Video Generation with Human Feedback", 2025
      (Flow-NRG; the sign is that of t = 1 being noise).
  """
  checks.same_shape(
      "flow_nrg_velocity", velocity=velocity, reward_gradient=reward_gradient
  )
  velocity = masking.as_accumulator(velocity)
  t = schedules.spread(t, velocity)
  return velocity - weight * t / (1 - t) * reward_gradient
