"""One step of a sampler: x' = A x0 + B eps + S z, z standard normal.

What a network says about x0 and eps is put together again at an earlier
time, with some of the noise drawn anew. All samplers differ by A, B and S
alone, and A is alpha of the next time.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks
from rewardjax.diffusion.schedules import Schedule
from rewardjax.types import Scalar

Sampler = Literal["ode", "ddim", "flow_sde"]


class Coefficients(NamedTuple):
  """Of x0, of eps, and of fresh noise."""

  x0: Float[Array, "*shape"]
  eps: Float[Array, "*shape"]
  std: Float[Array, "*shape"]


def transition_coeffs(
    kind: Sampler,
    schedule: Schedule,
    t: Float[Array, "*shape"],
    t_next: Float[Array, "*shape"],
    *,
    eta: Scalar = 1.0,
    latest: Scalar | Float[Array, "*#shape"] = 1.0,
) -> Coefficients:
  """A, B and S of a step from `t` down to `t_next`.

      ode       S = 0                                    B = sigma'
      ddim      S = eta sqrt(ab' - ab) sqrt(1 - ab') /   B^2 = sigma'^2 - S^2
                    sqrt(ab' (1 - ab))
      flow_sde  S = g sqrt(dt), g^2 = eta^2 t / (1 - t)  B = sigma' - g^2 dt/2t

  `ddim` keeps the nominal level of noise, and is for schedules with
  alpha^2 + sigma^2 = 1; `flow_sde` is a step of Euler and Maruyama for
  rectified flow: its B may be negative on coarse late steps, and its last
  step leaves noise in the sample.

  Args:
    kind: which sampler (static).
    schedule: of the process.
    t: times before the step.
    t_next: after it.
    eta: how much noise is drawn anew; 0 is `ode`.
    latest: times above it count as it in the 1 - t of g, which would be 0 at
      t = 1: the second time of the grid.

  Raises:
    ValueError: if `kind` is no choice or `eta` is negative.

  References:
    Song et al., "Denoising Diffusion Implicit Models", 2020 (ddim).
    Liu et al., "Flow-GRPO", 2025, arXiv:2505.05470 (flow_sde).
  """
  where = "transition_coeffs"
  checks.one_of(where, ("ode", "ddim", "flow_sde"), kind=kind)
  checks.at_least(where, 0.0, eta=eta)
  data, noise = schedule.alpha(t_next), schedule.sigma(t_next)
  if kind == "ode":
    return Coefficients(data, noise, jnp.zeros_like(noise))
  if kind == "ddim":
    before, after = jnp.square(schedule.alpha(t)), jnp.square(data)
    fresh = (1 - after) / (1 - before) * (1 - before / after)
    std = eta * jnp.sqrt(jnp.maximum(fresh, 0.0))
    kept = jnp.square(noise) - jnp.square(std)
    return Coefficients(data, jnp.sqrt(jnp.maximum(kept, 0.0)), std)
  step = t - t_next
  diffusion = eta**2 * t / (1 - jnp.minimum(t, latest))
  return Coefficients(
      data, noise - diffusion * step / (2 * t), jnp.sqrt(diffusion * step)
  )
