"""Both error rates of a verifier, from samples checked by someone better.

All of it compiles. Counts are sums: add or `psum` them over batches and
devices before anything is estimated from them.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics
from rewardjax.noise import channels
from rewardjax.noise.rates import RateEstimate, rate_from_counts, rogan_gladen
from rewardjax.types import NoiseRates, Scalar


class Audit(NamedTuple):
  """Both error rates of a verifier, overall or per group."""

  false_positive: RateEstimate
  false_negative: RateEstimate

  @property
  def rates(self) -> NoiseRates:
    """The point estimates, as the corrections take them."""
    return NoiseRates(self.false_positive.rate, self.false_negative.rate)


class ErrorCounts(NamedTuple):
  """Weighted counts of one true class; sums."""

  errors: Float[Array, "*shape"]
  total: Float[Array, "*shape"]
  squares: Float[Array, "*shape"]  # of the weights


def recheck_weights(
    observed: channels.Labels,
    *,
    appeal_fraction: Scalar,
    audit_fraction: Scalar,
) -> Float[Array, "*batch G"]:
  """1 / (the chance with which a sample was picked for checking).

  Args:
    observed: the verifier's labels.
    appeal_fraction: share of rejected samples that are checked.
    audit_fraction: share of accepted samples that are checked.

  Raises:
    ValueError: if a fraction is not in (0, 1].
  """
  checks.within(
      "recheck_weights",
      0.0,
      1.0,
      low_open=True,
      appeal_fraction=appeal_fraction,
      audit_fraction=audit_fraction,
  )
  accepted = channels.as_numbers(observed) > 0.5
  # asarray: `where` of two Python numbers would be weakly typed.
  dtype = channels.as_numbers(observed).dtype
  return 1 / jnp.where(
      accepted, jnp.asarray(audit_fraction, dtype), appeal_fraction
  )


def error_counts(
    observed: channels.Labels,
    truth: channels.Labels,
    mask: Bool[Array, "*batch G"] | None = None,
    weights: Float[Array, "*batch G"] | None = None,
    groups: Int[Array, "*batch G"] | None = None,
    *,
    num_groups: int = 1,
) -> tuple[ErrorCounts, ErrorCounts]:
  """Errors among truly wrong and truly right samples, per group `[K]`.

  Returns sums over the batch: add or `psum` them, then `audit_from_counts`.
  Arguments are those of `audit`.
  """
  checks.same_shape(
      "error_counts",
      observed=observed,
      truth=truth,
      mask=mask,
      weights=weights,
      groups=groups,
  )
  observed = channels.as_numbers(observed) > 0.5
  truth = channels.as_numbers(truth) > 0.5
  mask = jnp.ones(observed.shape, bool) if mask is None else mask
  weights = jnp.ones(observed.shape) if weights is None else weights
  groups = jnp.zeros(observed.shape, int) if groups is None else groups

  def count(values, where):
    return statistics.segment_counts(
        values, groups, where, num_segments=num_groups
    )

  def of_class(members):
    return ErrorCounts(
        count(weights, members & (observed != truth)),
        count(weights, members),
        count(jnp.square(weights), members),
    )

  return of_class(mask & ~truth), of_class(mask & truth)


def audit_from_counts(
    counts: tuple[ErrorCounts, ErrorCounts],
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    level: Scalar = 0.95,
) -> Audit:
  """Both rates from `error_counts`, with credible intervals.

  Weighted counts are scaled to their effective number, (sum w)^2 / sum w^2.
  """

  def of_class(c):
    effective = masking.safe_divide(jnp.square(c.total), c.squares)
    errors = masking.safe_divide(c.errors, c.total) * effective
    return rate_from_counts(
        errors, effective, alpha=alpha, beta=beta, level=level
    )

  return Audit(*map(of_class, counts))


def audit(
    observed: channels.Labels,
    truth: channels.Labels,
    mask: Bool[Array, "*batch G"] | None = None,
    weights: Float[Array, "*batch G"] | None = None,
    groups: Int[Array, "*batch G"] | None = None,
    *,
    num_groups: int = 1,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    level: Scalar = 0.95,
) -> Audit:
  """Both error rates of a verifier from samples whose truth is known.

  Each rate is conditional on the truth: false negatives are counted among
  right samples only, not among all.

  Args:
    observed: the verifier's labels, Bool or 0 and 1.
    truth: the right labels; anything where `mask` is False.
    mask: True where the truth is known and the verdict valid.
    weights: 1 / (chance of having been checked), from `recheck_weights`, when
      rejected and accepted samples were not checked equally often; without
      them the rates of such a sample are wrong.
    groups: an id 0 .. K-1 for each sample: a kind of problem, a verifier.
    num_groups: K (static).
    alpha: prior errors of each rate.
    beta: prior non-errors of each rate.
    level: mass of the credible intervals.

  Returns:
    Estimates of shape `[K]`, `[1]` without groups.

  Raises:
    ValueError: if shapes differ, or `level` or a prior is out of range.
  """
  counts = error_counts(
      observed, truth, mask, weights, groups, num_groups=num_groups
  )
  return audit_from_counts(counts, alpha=alpha, beta=beta, level=level)


def rates_from_rechecks(
    observed: channels.Labels,
    accepted: channels.Labels,
    mask: Bool[Array, "*batch G"],
    weights: Float[Array, "*batch G"],
    *,
    judge_rates: NoiseRates,
) -> NoiseRates:
  """Both rates from samples rechecked by a judge who errs as well.

  The accepted share of each verdict is corrected by `rogan_gladen`, which
  needs no truth, then turned round by Bayes' rule. Points only: with errors
  of its own the judge adds variance that the intervals of `audit` lack.

  Args:
    observed: the verifier's labels.
    accepted: the judge's labels; anything where `mask` is False.
    mask: True where the judge was asked and answered.
    weights: from `recheck_weights`.
    judge_rates: (j0, j1), independent of the verifier's errors given truth.

  Returns:
    Two scalars in [0, 1]; 0 where a true class has no mass.
  """
  checks.same_shape(
      "rates_from_rechecks",
      observed=observed,
      accepted=accepted,
      mask=mask,
      weights=weights,
  )
  observed = channels.as_numbers(observed) > 0.5
  accepted = channels.as_numbers(accepted) > 0.5

  def masses(verdict):  # (wrong, right) among samples with this verdict
    total = masking.masked_sum(weights, mask & verdict)
    yes = masking.masked_sum(weights, mask & verdict & accepted)
    right = total * rogan_gladen(
        masking.safe_divide(yes, total), judge_rates
    )
    return total - right, right

  true_negative, false_negative = masses(~observed)
  false_positive, true_positive = masses(observed)
  share = lambda x, y: masking.safe_divide(x, x + y)
  return NoiseRates(
      share(false_positive, true_negative),
      share(false_negative, true_positive),
  )
