"""Error rates on line: a second judge rechecks some of the verdicts.

    mask = choose_appeals(key, observed, fraction, valid)   # rejected samples
    accepted = ...                          # the judge's labels where `mask`
    counts = appeal_counts(observed, mask, accepted, valid)      # then psum
    state = update_appeals(state, counts, false_positive=...)
    rho1 = false_negative_rate(state)

What to do with the judge's answers is a choice between two:
  A. keep the labels, and give the estimated rates to a correction;
  B. `overrule` the labels, and correct with `corrections.post_appeal_rates`.
Doing B with the rates of A corrects twice.

Audits of accepted samples give rho0 in the mirror: `choose_audits`,
`audit_counts`, `update_audits`, `false_positive_rate`. With both, give each
update the counts of the other, and no rate needs to be known before.

References:
  Cai et al., "Reinforcement Learning with Verifiable yet Noisy Rewards under
    Imperfect Verifiers", 2025, arXiv:2510.00915 (appeals).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking, statistics
from rewardjax.noise import channels, rates
from rewardjax.types import NoiseRates, Scalar

TRUSTED = NoiseRates(0.0, 0.0)  # a judge without errors


class AppealState(NamedTuple):
  """Decayed counts of right samples; scalars, or one per kind `[K]`."""

  false_negatives: Float[Array, "*K"]
  true_positives: Float[Array, "*K"]


class AuditState(NamedTuple):
  """Decayed counts of wrong samples; scalars, or one per kind `[K]`."""

  false_positives: Float[Array, "*K"]
  true_negatives: Float[Array, "*K"]


class AppealCounts(NamedTuple):
  """Sums over one batch, which add and `psum`.

  For audits read it in the mirror: `negatives` are accepted samples, and
  `accepted` those that the judge rejects.
  """

  negatives: Float[Array, "*K"]
  positives: Float[Array, "*K"]
  appealed: Float[Array, "*K"]
  accepted: Float[Array, "*K"]


def init_appeals(num_kinds: int | None = None) -> AppealState:
  """Nothing seen yet, for one rate or for K kinds of problem (static)."""
  zeros = jnp.zeros(() if num_kinds is None else num_kinds)
  return AppealState(zeros, zeros)


def init_audits(num_kinds: int | None = None) -> AuditState:
  """Nothing seen yet, for one rate or for K kinds of problem (static)."""
  return AuditState(*init_appeals(num_kinds))


def appeal_mask(
    uniforms: Float[Array, "*batch G"],
    observed: channels.Labels,
    fraction: Scalar | Float[Array, "*#batch #G"],
    valid: Bool[Array, "*batch G"] | None = None,
) -> Bool[Array, "*batch G"]:
  """True for rejected valid samples whose uniform is below `fraction`.

  See `choose_appeals`.
  """
  checks.same_shape(
      "appeal_mask", uniforms=uniforms, observed=observed, valid=valid
  )
  checks.probability("appeal_mask", fraction=fraction)
  # Not `> 0.5`, negated: an unknown label (NaN) is not a rejection.
  rejected = channels.as_numbers(observed) <= 0.5
  chosen = rejected & (uniforms < fraction)
  return chosen if valid is None else chosen & valid


def choose_appeals(
    key: Key[Array, ""],
    observed: channels.Labels,
    fraction: Scalar | Float[Array, "*#batch #G"],
    valid: Bool[Array, "*batch G"] | None = None,
) -> Bool[Array, "*batch G"]:
  """Picks rejected samples for the judge, each with chance `fraction`.

  The pick is random given the verdict: rechecking those that look right
  would overstate the false negatives.

  Args:
    key: consumed.
    observed: the verifier's labels, Bool or 0 and 1.
    fraction: chance of a recheck.
    valid: True where the verdict is known; None means everywhere.

  Raises:
    ValueError: if shapes differ or `fraction` is no probability.
  """
  uniforms = jax.random.uniform(key, observed.shape)
  return appeal_mask(uniforms, observed, fraction, valid)


def choose_audits(
    key: Key[Array, ""],
    observed: channels.Labels,
    fraction: Scalar | Float[Array, "*#batch #G"],
    valid: Bool[Array, "*batch G"] | None = None,
) -> Bool[Array, "*batch G"]:
  """Picks accepted samples, each with chance `fraction`; `key` is consumed."""
  return choose_appeals(key, _mirror(observed), fraction, valid)


def appeal_counts(
    observed: channels.Labels,
    appealed: Bool[Array, "*batch G"],
    accepted: channels.Labels,
    valid: Bool[Array, "*batch G"] | None = None,
    kinds: Int[Array, "*batch G"] | None = None,
    *,
    num_kinds: int | None = None,
) -> AppealCounts:
  """Counts verdicts and appeals, of all samples or per kind.

  Args:
    observed: the verifier's labels.
    appealed: True where the judge was asked and answered.
    accepted: the judge's labels; anything where `appealed` is False.
    valid: True where the verdict is known.
    kinds: ids 0 .. K-1; needed with `num_kinds`.
    num_kinds: K (static); None counts all samples together, into scalars.

  Raises:
    ValueError: if shapes differ, or `kinds` and `num_kinds` do not come
      together.
  """
  checks.same_shape(
      "appeal_counts",
      observed=observed,
      appealed=appealed,
      accepted=accepted,
      valid=valid,
      kinds=kinds,
  )
  if (kinds is None) != (num_kinds is None):
    raise ValueError(
        "appeal_counts: kinds and num_kinds must be given together."
    )
  observed = channels.as_numbers(observed)
  valid = jnp.ones(observed.shape, bool) if valid is None else valid
  rejected = valid & (observed <= 0.5)
  asked = rejected & appealed

  def count(where):
    ones = where.astype(observed.dtype)
    if kinds is None:
      return jnp.sum(ones)
    return statistics.segment_counts(ones, kinds, num_segments=num_kinds)

  return AppealCounts(
      count(rejected),
      count(valid & (observed > 0.5)),
      count(asked),
      count(asked & (channels.as_numbers(accepted) > 0.5)),
  )


def audit_counts(
    observed: channels.Labels,
    audited: Bool[Array, "*batch G"],
    accepted: channels.Labels,
    valid: Bool[Array, "*batch G"] | None = None,
    kinds: Int[Array, "*batch G"] | None = None,
    *,
    num_kinds: int | None = None,
) -> AppealCounts:
  """`appeal_counts` in the mirror, for `update_audits`."""
  return appeal_counts(
      _mirror(observed),
      audited,
      _mirror(accepted),
      valid,
      kinds,
      num_kinds=num_kinds,
  )


def update_appeals(
    state: AppealState,
    counts: AppealCounts,
    *,
    false_positive: Scalar | Float[Array, "*K"] = 0.0,
    audits: AppealCounts | None = None,
    judge_rates: NoiseRates = TRUSTED,
    decay: Scalar = 0.9,
) -> AppealState:
  """Adds one batch to the decayed counts of right samples.

      FN = negatives tau,  tau = rogan_gladen(accepted / appealed, judge_rates)
      TP = max((positives - rho0 (n - FN)) / (1 - rho0), 0),  or, with audits,
      TP = positives - those that audits say are wrong

  Args:
    state: what was seen before.
    counts: of this batch, over all devices.
    false_positive: rho0 of the verifier; taken as 0, false positives count as
      right samples and rho1 comes out too low. Not an estimate that was made
      from rho1: two such estimates can hold one another far off.
    audits: `audit_counts` of the same batch, in place of `false_positive`.
    judge_rates: (j0, j1) of the judge.
    decay: what the old counts are multiplied by; 1 never forgets.

  Returns:
    The new state; the old one where some verdict went unchecked, that is
    where there were rejected samples and none was appealed. (Adding positives
    without their false negatives would pull rho1 down.)

  Raises:
    ValueError: if a rate or `decay` given as a Python number is not in [0, 1],
      or both `false_positive` and `audits` are given.
  """
  where = "update_appeals"
  checks.within(where, 0.0, 1.0, high_open=True, false_positive=false_positive)
  checks.probability(where, decay=decay)
  missed, known = _overturned(counts, judge_rates)
  if audits is None:
    n = counts.negatives + counts.positives
    found = masking.safe_divide(
        counts.positives - false_positive * (n - missed),
        jnp.asarray(1 - false_positive),
    )
    found = jnp.maximum(found, 0.0)
  elif isinstance(false_positive, int | float) and false_positive == 0:
    wrong, audited = _overturned(audits, _mirror_rates(judge_rates))
    found, known = counts.positives - wrong, known & audited
  else:
    raise ValueError(f"{where}: false_positive and audits exclude each other.")
  known &= counts.negatives + counts.positives > 0
  add = lambda old, new: jnp.where(known, decay * old + new, old)
  return AppealState(
      add(state.false_negatives, missed), add(state.true_positives, found)
  )


def update_audits(
    state: AuditState,
    counts: AppealCounts,
    *,
    false_negative: Scalar | Float[Array, "*K"] = 0.0,
    appeals: AppealCounts | None = None,
    judge_rates: NoiseRates = TRUSTED,
    decay: Scalar = 0.9,
) -> AuditState:
  """`update_appeals` in the mirror: adds one batch of wrong samples.

  Takes the counts of `audit_counts`, and rho1 or the counts of
  `appeal_counts`; `judge_rates` as usual.
  """
  mirrored = update_appeals(
      AppealState(*state),
      counts,
      false_positive=false_negative,
      audits=appeals,
      judge_rates=_mirror_rates(judge_rates),
      decay=decay,
  )
  return AuditState(*mirrored)


def false_negative_rate(
    state: AppealState, *, alpha: Scalar = 1.0, beta: Scalar = 1.0
) -> Float[Array, "*K"]:
  """rho1 = (FN + alpha) / (FN + TP + alpha + beta): the Beta posterior's mean.

  Before the first appeal it is the prior's mean, alpha / (alpha + beta).
  """
  checks.within(
      "false_negative_rate", 0.0, low_open=True, alpha=alpha, beta=beta
  )
  missed, found = state
  return (missed + alpha) / (missed + found + alpha + beta)


def false_positive_rate(
    state: AuditState, *, alpha: Scalar = 1.0, beta: Scalar = 1.0
) -> Float[Array, "*K"]:
  """rho0 = (FP + alpha) / (FP + TN + alpha + beta)."""
  return false_negative_rate(AppealState(*state), alpha=alpha, beta=beta)


def overrule(
    observed: channels.Labels,
    rechecked: Bool[Array, "*batch G"],
    accepted: channels.Labels,
) -> Float[Array, "*batch G"]:
  """The judge's label where it was asked, the verifier's elsewhere (use B)."""
  checks.same_shape(
      "overrule", observed=observed, rechecked=rechecked, accepted=accepted
  )
  observed = channels.as_numbers(observed)
  accepted = channels.as_numbers(accepted).astype(observed.dtype)
  return jnp.where(rechecked, accepted, observed)


def _overturned(counts: AppealCounts, judge_rates: NoiseRates):
  """How many verdicts are wrong in truth, and where that is known."""
  share = masking.safe_divide(counts.accepted, counts.appealed)
  wrong = counts.negatives * rates.rogan_gladen(share, judge_rates)
  return wrong, (counts.appealed > 0) | (counts.negatives == 0)


def _mirror(labels: Array) -> Array:
  """Swaps right and wrong; NaN stays NaN."""
  return 1 - channels.as_numbers(labels)


def _mirror_rates(rates: NoiseRates) -> NoiseRates:
  return NoiseRates(rates.false_negative, rates.false_positive)
