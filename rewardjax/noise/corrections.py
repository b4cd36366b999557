"""Undoing a verifier's errors when their rates are known.

With constant rates E[observed | truth] = rho0 + J truth, J = 1 - rho0 - rho1
(Youden's index). Every correction here is affine in what was observed, so
a normalisation that removes offset and scale removes the correction too:
`is_no_op` says when. Corrected rewards leave [0, 1]; clipping them back
would make them biased again. Evaluate on the truth, never on these.

References:
  Cai et al., "Reinforcement Learning with Verifiable yet Noisy Rewards under
    Imperfect Verifiers", 2025, arXiv:2510.00915 (backward, forward, appeals).
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, numerics
from rewardjax.core.masking import Mean
from rewardjax.noise import channels
from rewardjax.types import NoiseRates, Scalar

Correction = Literal["none", "backward", "forward", "mirror"]
Center = Literal["none", "mean", "leave_one_out"]
Scale = Literal["none", "group_std", "batch_std"]


def check_rates(where: str, rates: NoiseRates) -> None:
  """Raises ValueError for constant rates that no correction should be given.

  Python numbers must be probabilities whose Youden index is positive: at 0
  the verifier says nothing, below 0 its labels are the wrong way round, more
  often a mistake than a fact. Arrays pass: per-sample rates may well have
  J < 0 on an exploit, and what depends on data is a metric (`guard_metrics`).
  """
  channels.check_probabilities(where, rates)
  if all(isinstance(rate, int | float) for rate in rates):
    if sum(rates) >= 1:
      raise ValueError(
          f"{where}: false_positive + false_negative must be below 1, got "
          f"{rates.false_positive!r} + {rates.false_negative!r}; pass arrays "
          f"if the verifier is really reversed."
      )


def youden(rates: NoiseRates) -> Float[Array, "*shape"]:
  """J = 1 - false_positive - false_negative, in [-1, 1]; signal that is left.

  0: what is observed says nothing. Negative: it says the opposite.
  """
  return jnp.asarray(1 - rates.false_positive - rates.false_negative)


def guarded_youden(
    rates: NoiseRates, min_youden: Scalar = 0.05
) -> Float[Array, "*shape"]:
  """`youden` with its sign kept (+ at 0) and its magnitude floored."""
  return numerics.sign_floor(youden(rates), min_youden)


def backward_reward(
    observed: channels.Labels, rates: NoiseRates, *, min_youden: Scalar = 0.05
) -> Float[Array, "*batch G"]:
  """(observed - rho0) / J: an unbiased estimate of the truth, whatever it is.

  E[backward_reward | truth] = truth, so policy gradients with any baseline
  that does not depend on the sample are unbiased at full scale. Per-sample
  rates must be those of the very sample. The variance grows like 1 / J^2.
  Wrong rates rho_hat give J / J_hat times the exact gradient, plus nothing.

  Args:
    observed: verdicts, Bool or 0 and 1; NaN (unknown) stays NaN.
    rates: numbers, per prompt `[*batch, 1]` or per sample `[*batch, G]`.
    min_youden: |J| is floored here: below it the reward is short by
      |J| / min_youden instead of exploding. The sign of J is kept.

  Returns:
    Rewards -rho0 / J and (1 - rho0) / J, float32 or wider.

  Gradient: flows through `observed`, and through `rates` where every verdict
    is known.

  Raises:
    ValueError: if rates do not fit, or are Python numbers with J <= 0.
  """
  check_rates("backward_reward", rates)
  checks.within("backward_reward", 0.0, low_open=True, min_youden=min_youden)
  rates = channels.spread_rates("backward_reward", rates, observed)
  observed = channels.as_numbers(observed)
  return (observed - rates.false_positive) / guarded_youden(rates, min_youden)


def forward_weight(
    observed: channels.Labels, rates: NoiseRates
) -> Float[Array, "*batch G"]:
  """observed - (1 - rho1): weights of the score function, bounded by 1.

  E[w | truth 1] = 0 and E[w | truth 0] = -J, so the expected gradient is J
  times the exact one; only false negatives need to be known. It takes the
  place of reward *and* advantage: a signed advantage times w would reward
  what was rejected, and centring it gives back uncorrected rewards.

  Args:
    observed: verdicts, Bool or 0 and 1; NaN (unknown) stays NaN.
    rates: numbers, per prompt `[*batch, 1]` or per sample `[*batch, G]`.

  Returns:
    rho1 for accepted and rho1 - 1 for rejected samples.

  Gradient: flows through `observed` and `rates`.

  Raises:
    ValueError: if rates do not fit, or are Python numbers with J <= 0.
  """
  check_rates("forward_weight", rates)
  rates = channels.spread_rates("forward_weight", rates, observed)
  return channels.as_numbers(observed) - (1 - rates.false_negative)


def forward_weight_from_false_positive(
    observed: channels.Labels, rates: NoiseRates
) -> Float[Array, "*batch G"]:
  """observed - rho0: the mirror of `forward_weight`, needing rho0 only.

  E[w | truth 0] = 0 and E[w | truth 1] = J. Arguments, gradient and errors
  are those of `forward_weight`.
  """
  check_rates("forward_weight_from_false_positive", rates)
  rates = channels.spread_rates(
      "forward_weight_from_false_positive", rates, observed
  )
  return channels.as_numbers(observed) - rates.false_positive


def backward_variance(
    success_rate: Float[Array, "*shape"] | float, rates: NoiseRates
) -> Float[Array, "*shape"]:
  """Variance of `backward_reward` at P(truth 1) = success_rate, no guard.

      q (1 - q) / J^2,   q = rho0 + J success_rate

  Divided by success_rate (1 - success_rate) it is the factor by which noise
  multiplies the samples needed for a given precision of the mean reward.
  """
  j = youden(rates)
  q = rates.false_positive + j * success_rate
  return q * (1 - q) / jnp.square(j)


def post_appeal_rates(
    rates: NoiseRates,
    appeal_fraction: Scalar,
    judge_rates: NoiseRates,
    *,
    audit_fraction: Scalar = 0.0,
) -> NoiseRates:
  """Rates of the labels after a judge overruled some of the verdicts.

      rho1' = rho1 (1 - f (1 - j1)) + (1 - rho1) g j1
      rho0' = rho0 (1 - g (1 - j0)) + (1 - rho0) f j0

  Correct overwritten labels with these: with the old rates the correction
  would be made twice.

  Args:
    rates: of the verifier.
    appeal_fraction: f, share of rejected samples whose label the judge sets,
      chosen at random.
    judge_rates: of the judge, (j0, j1); given the truth, its errors are taken
      as independent of the verifier's.
    audit_fraction: g, the same share among accepted samples.

  Raises:
    ValueError: if a Python number is no probability.
  """
  channels.check_probabilities("post_appeal_rates", rates)
  channels.check_probabilities("post_appeal_rates: judge_rates", judge_rates)
  checks.probability(
      "post_appeal_rates",
      appeal_fraction=appeal_fraction,
      audit_fraction=audit_fraction,
  )
  f, g, (j0, j1) = appeal_fraction, audit_fraction, judge_rates
  rho0, rho1 = rates
  return NoiseRates(
      rho0 * (1 - g * (1 - j0)) + (1 - rho0) * f * j0,
      rho1 * (1 - f * (1 - j1)) + (1 - rho1) * g * j1,
  )


def guard_metrics(
    rates: NoiseRates,
    min_youden: Scalar = 0.05,
    mask: Bool[Array, "*shape"] | None = None,
) -> dict[str, Mean]:
  """How close the rates are to saying nothing; means over samples or prompts.

  Args:
    rates: what the correction is given.
    min_youden: its floor.
    mask: True for entries that count; rates are broadcast to its shape.

  Returns:
    `youden`: mean J. `guarded_fraction`: share with |J| < min_youden, whose
    reward is short. `variance_inflation`: mean of 1 / J^2 after the guard,
    by which the variance of the observed verdicts is multiplied.
  """
  j = masking.as_accumulator(youden(rates))
  j = j if mask is None else jnp.broadcast_to(j, mask.shape)
  safe = numerics.sign_floor(j, min_youden)
  return {
      "youden": Mean.of(j, mask),
      "guarded_fraction": Mean.of((jnp.abs(j) < min_youden) * 1.0, mask),
      "variance_inflation": Mean.of(1 / jnp.square(safe), mask),
  }


def is_no_op(
    correction: Correction,
    center: Center,
    scale: Scale,
    constant_within_group: bool,
    *,
    constant_over_batch: bool = False,
) -> tuple[bool, str]:
  """Whether a correction provably leaves every advantage as it was, and why.

  Args:
    correction: what is done to the verdicts; mirror is
      `forward_weight_from_false_positive`.
    center: what the advantage subtracts.
    scale: what it divides by (its epsilon is taken as 0).
    constant_within_group: True if all samples of a prompt share their rates.
    constant_over_batch: True if one pair of rates serves the whole batch.

  Returns:
    True or False, and the reason in a sentence. Rates with J < 0 are not
    meant: there the backward correction turns the sign round.

  Raises:
    ValueError: if a string is none of the choices.
  """
  where = "is_no_op"
  checks.one_of(where, Correction.__args__, correction=correction)
  checks.one_of(where, Center.__args__, center=center)
  checks.one_of(where, Scale.__args__, scale=scale)
  constant = constant_within_group or constant_over_batch
  if correction == "none":
    return True, "There is no correction."
  if not constant:
    return False, "Rates differ within a group: the direction changes."
  if center == "none":
    return False, "Nothing is centred: the baseline changes."
  if scale == "group_std":
    return True, "Centre and std of the group remove any offset and scale."
  if scale == "batch_std" and constant_over_batch:
    return True, "Centre and std of the batch remove any offset and scale."
  if scale == "batch_std":
    return False, "Rates differ between groups and the batch has one std."
  if correction != "backward":
    return True, "The correction is an offset, which the centre removes."
  if constant_over_batch:
    return False, "Only the step size changes, by 1 / J."
  return False, "Prompts are weighted by their own 1 / J."
