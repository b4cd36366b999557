"""Estimates of one rate from counts, with intervals; all of it compiles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking, numerics
from rewardjax.noise import channels
from rewardjax.types import NoiseRates, Scalar

Count = Float[Array, "*shape"] | float | int
_BISECTIONS = 48  # of [0, 1]; small quantiles keep float32's relative digits


class RateEstimate(NamedTuple):
  """A probability in [0, 1], its interval, and how many samples speak of it.

  `count` is the effective number (Kish) where samples had unequal weights.
  """

  rate: Float[Array, "*shape"]
  low: Float[Array, "*shape"]
  high: Float[Array, "*shape"]
  count: Float[Array, "*shape"]


def rogan_gladen(
    observed_rate: Float[Array, "*shape"],
    judge_rates: NoiseRates,
    *,
    min_youden: Scalar = 0.05,
) -> Float[Array, "*shape"]:
  """True rate behind the rate that an imperfect judge reports, in [0, 1].

      clip((x - j0) / (1 - j0 - j1), 0, 1)

  Args:
    observed_rate: x, share of samples that the judge accepts.
    judge_rates: (j0, j1) of the judge.
    min_youden: floor of the magnitude of the divisor; its sign is kept.

  Gradient: flows through all arguments; 0 where the clip holds.

  Raises:
    ValueError: if a rate given as a Python number is no probability.

  References:
    Rogan and Gladen, "Estimating prevalence from the results of a screening
      test", American Journal of Epidemiology, 1978.
  """
  channels.check_probabilities("rogan_gladen", judge_rates)
  j0, j1 = judge_rates
  index = numerics.sign_floor(jnp.asarray(1 - j0 - j1), min_youden)
  return jnp.clip((masking.as_accumulator(observed_rate) - j0) / index, 0, 1)


@jax.jit  # else every eager call would compile the loop anew
def beta_quantile(
    probability: Float[Array, "*shape"],
    a: Float[Array, "*shape"],
    b: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """The value below which Beta(a, b) has mass `probability`, by bisection.

  Gradient: none.
  """
  a, b, probability = jax.lax.stop_gradient((a, b, probability))

  def halve(_, bounds):
    low, high = bounds
    middle = 0.5 * (low + high)
    below = jax.scipy.special.betainc(a, b, middle) < probability
    return jnp.where(below, middle, low), jnp.where(below, high, middle)

  bounds = (jnp.zeros_like(a), jnp.ones_like(a))
  low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, bounds)
  return 0.5 * (low + high)


def rate_from_counts(
    errors: Count,
    trials: Count,
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    level: Scalar = 0.95,
) -> RateEstimate:
  """Mean and equal-tailed credible interval of the Beta posterior.

      rate = (errors + alpha) / (trials + alpha + beta)

  Args:
    errors: how often the verifier erred; may be weighted.
    trials: how often it could have.
    alpha: prior errors.
    beta: prior successes; 1 and 1 are the uniform prior.
    level: mass of the interval.

  Raises:
    ValueError: if `level` is outside (0, 1) or a prior is not positive.
  """
  _check("rate_from_counts", level, alpha=alpha, beta=beta)
  errors, trials = jnp.broadcast_arrays(_as_float(errors), _as_float(trials))
  a, b = errors + alpha, trials - errors + beta
  tail = jnp.asarray(0.5 * (1 - level), a.dtype)
  ends = jnp.broadcast_arrays(
      jnp.stack([tail, 1 - tail]).reshape((2,) + (1,) * a.ndim),
      a[None],
      b[None],
  )
  low, high = beta_quantile(*ends)
  return RateEstimate(a / (a + b), low, high, trials)


def wilson(
    errors: Count, trials: Count, *, level: Scalar = 0.95
) -> RateEstimate:
  """errors / trials with the Wilson score interval; no prior.

  Never leaves [0, 1], and is [0, 1] with rate 0 where nothing was tried.

  Raises:
    ValueError: if `level` is outside (0, 1).

  References:
    Wilson, "Probable Inference, the Law of Succession, and Statistical
      Inference", JASA, 1927.
  """
  _check("wilson", level)
  errors, trials = jnp.broadcast_arrays(_as_float(errors), _as_float(trials))
  # ndtri of the lower tail, which float32 resolves better than the upper.
  z = -jax.scipy.special.ndtri(jnp.asarray(0.5 * (1 - level), errors.dtype))
  n = jnp.maximum(trials, 1e-9)
  rate = errors / n
  scale = 1 / (1 + z**2 / n)
  middle = scale * (rate + z**2 / (2 * n))
  spread = scale * z * jnp.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
  nothing = trials <= 0
  low = jnp.where(nothing, 0.0, jnp.clip(middle - spread, 0, 1))
  high = jnp.where(nothing, 1.0, jnp.clip(middle + spread, 0, 1))
  return RateEstimate(jnp.where(nothing, 0.0, rate), low, high, trials)


def _as_float(x: Count) -> Array:
  x = jnp.asarray(x)
  if not jnp.issubdtype(x.dtype, jnp.floating):
    x = x.astype(jnp.float32)
  return masking.as_accumulator(x)


def _check(where: str, level: Scalar, **priors) -> None:
  checks.within(where, 0.0, 1.0, low_open=True, high_open=True, level=level)
  checks.within(where, 0.0, low_open=True, **priors)
