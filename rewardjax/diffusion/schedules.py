"""How data turns into noise: x_t = alpha(t) x0 + sigma(t) eps.

Time t is in [0, 1]: 0 is data, 1 is noise. A time is a number, or one per
sample `[N]`; a sample is `x [N, ...]`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Time = Scalar | Float[Array, " N"]
Samples = Float[Array, "N *event"]
Kind = Literal["eps", "x0", "v", "score"]


class Schedule(NamedTuple):
  """Weights of data and noise at a time, and what a network calls `v`.

  alpha: of the data.
  sigma: of the noise.
  v: weights of x0 and eps in v.
  """

  alpha: Callable[[Array], Array]
  sigma: Callable[[Array], Array]
  v: Callable[[Array], tuple[Array, Array]]


class Endpoints(NamedTuple):
  """The data and the noise that a noisy sample is made of."""

  x0: Samples
  eps: Samples


def rectified_flow() -> Schedule:
  """x_t = (1 - t) x0 + t eps; v = eps - x0 is the velocity.

  References:
    Liu et al., "Flow Straight and Fast", 2022, arXiv:2209.03003.
  """
  return Schedule(
      lambda t: 1 - t,
      lambda t: t,
      lambda t: (-jnp.ones_like(t), jnp.ones_like(t)),
  )


def vp(alpha_bar: Callable[[Array], Array]) -> Schedule:
  """x_t = sqrt(ab) x0 + sqrt(1 - ab) eps; v = alpha eps - sigma x0.

  Args:
    alpha_bar: the share of the variance that is data, from 1 at t = 0 down.

  References:
    Ho et al., "Denoising Diffusion Probabilistic Models", 2020,
      arXiv:2006.11239.
    Salimans and Ho, "Progressive Distillation", 2022 (v).
  """
  alpha = lambda t: jnp.sqrt(alpha_bar(t))
  sigma = lambda t: jnp.sqrt(1 - alpha_bar(t))
  return Schedule(alpha, sigma, lambda t: (-sigma(t), alpha(t)))


def cosine_alpha_bar(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """cos^2(pi t / 2): nothing but noise at t = 1.

  References:
    Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models",
      2021 (without its offset).
  """
  return jnp.square(jnp.cos(jnp.pi / 2 * t))


def time_grid(num_steps: int, *, shift: Scalar = 1.0) -> Float[Array, " K"]:
  """num_steps + 1 times from 1 down to 0.

      t = shift u / (1 + (shift - 1) u),   u even

  Args:
    num_steps: T (static).
    shift: above 1 spends more steps on noise.

  Raises:
    ValueError: if `num_steps` is below 1 or `shift` is not positive.
  """
  checks.at_least("time_grid", 1, num_steps=num_steps)
  checks.within("time_grid", 0.0, low_open=True, shift=shift)
  u = jnp.linspace(1.0, 0.0, num_steps + 1)
  return shift * u / (1 + (shift - 1) * u)


def spread(t: Time, x: Samples) -> Array:
  """Times as an array that multiplies `x [N, ...]`.

  Raises:
    ValueError: if there is neither one time nor one per sample.
  """
  t = jnp.asarray(t, x.dtype)
  checks.broadcasts_to("spread", x.shape[:1], t=t)
  return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def add_noise(schedule: Schedule, x0: Samples, eps: Samples, t: Time) -> Array:
  """alpha(t) x0 + sigma(t) eps, float32 or wider.

  Gradient: flows through `x0` and `eps`.

  Raises:
    ValueError: if shapes do not fit.
  """
  checks.same_shape("add_noise", x0=x0, eps=eps)
  x0, eps = masking.as_accumulator(x0), masking.as_accumulator(eps)
  t = spread(t, x0)
  return schedule.alpha(t) * x0 + schedule.sigma(t) * eps


def to_x0_eps(
    schedule: Schedule, output: Samples, x: Samples, t: Time, *, kind: Kind
) -> Endpoints:
  """What the output of a network says about data and noise.

  Args:
    schedule: of the process.
    output: of the network at `x` and `t`.
    x: the noisy sample.
    t: its time. `eps` and `score` say nothing about x0 where alpha is 0, and
      `x0` nothing about eps where sigma is 0: there it is not finite.
    kind: what the network predicts (static): the noise, the data, `v` of the
      schedule, or the score -eps / sigma.

  Gradient: flows through `output` and `x`.

  Raises:
    ValueError: if shapes do not fit or `kind` is no choice.
  """
  checks.one_of("to_x0_eps", ("eps", "x0", "v", "score"), kind=kind)
  checks.same_shape("to_x0_eps", output=output, x=x)
  x, output = masking.as_accumulator(x), masking.as_accumulator(output)
  t = spread(t, x)
  alpha, sigma = schedule.alpha(t), schedule.sigma(t)
  if kind == "x0":
    return Endpoints(output, (x - alpha * output) / sigma)
  if kind == "v":
    of_x0, of_eps = schedule.v(t)
    # Two equations in x0 and eps.
    determinant = alpha * of_eps - sigma * of_x0
    x0 = (of_eps * x - sigma * output) / determinant
    return Endpoints(x0, (alpha * output - of_x0 * x) / determinant)
  eps = -sigma * output if kind == "score" else output
  return Endpoints((x - sigma * eps) / alpha, eps)


def velocity(schedule: Schedule, ends: Endpoints, t: Time) -> Array:
  """alpha'(t) x0 + sigma'(t) eps: dx/dt along the deterministic path.

  Gradient: flows through `ends`.
  """
  t = spread(t, ends.x0)
  slope = lambda f: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]
  return slope(schedule.alpha) * ends.x0 + slope(schedule.sigma) * ends.eps


def score(schedule: Schedule, ends: Endpoints, t: Time) -> Array:
  """-eps / sigma(t): the gradient of the log-density of x_t.

  Gradient: flows through `ends`.
  """
  return -ends.eps / schedule.sigma(spread(t, ends.eps))
