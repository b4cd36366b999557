"""Noise rates measured while training: a trusted judge rechecks a share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rewardjax.core.masking import Mean
from rewardjax.noise import appeals, corrections
from rewardjax.noise.appeals import AppealState, AuditState
from rewardjax.types import NoiseRates, Reward

# What `recheck` reports; arms without appeals do not have these.
METRICS = ("estimated_false_positive", "estimated_false_negative", "rechecked")


class RateState(NamedTuple):
  """Decayed counts of right and of wrong samples, per kind `[K]`."""

  rejected: AppealState
  accepted: AuditState


def init(num_kinds: int) -> RateState:
  """Nothing rechecked yet."""
  return RateState(
      appeals.init_appeals(num_kinds), appeals.init_audits(num_kinds)
  )


def estimate(state: RateState, options) -> NoiseRates:
  """Both rates `[K]`; the prior's means before the first recheck."""
  prior = dict(alpha=options.alpha, beta=options.beta)
  return NoiseRates(
      appeals.false_positive_rate(state.accepted, **prior),
      appeals.false_negative_rate(state.rejected, **prior),
  )


def recheck(
    key, state: RateState, observed: Reward, truth: Reward, kinds, options
):
  """Updates the rates from a random share of this batch.

  Args:
    key: consumed.
    state: of earlier batches.
    observed: the lying verdicts `[B, G]`.
    truth: the judge's; read only where a sample was picked.
    kinds: of the prompts, `[B]`.
    options: `config.appeals`.

  Returns:
    The labels to learn from, their rates `[K]`, the new state and metrics.
  """
  num_kinds = state.rejected.false_negatives.shape[0]
  appeal_key, audit_key = jax.random.split(key)
  known = observed.valid & truth.valid
  kinds = jnp.broadcast_to(kinds[:, None], known.shape)
  appealed = appeals.choose_appeals(
      appeal_key, observed.value, options.fraction, known
  )
  audited = appeals.choose_audits(
      audit_key, observed.value, options.audit_fraction, known
  )
  labels = (observed.value, truth.value, observed.valid, kinds)
  count = lambda function, picked: function(
      labels[0], picked, *labels[1:], num_kinds=num_kinds
  )
  appeal = count(appeals.appeal_counts, appealed)
  audit = count(appeals.audit_counts, audited)
  # Each takes the other's counts, never its estimate.
  state = RateState(
      appeals.update_appeals(
          state.rejected, appeal, audits=audit, decay=options.decay
      ),
      appeals.update_audits(
          state.accepted, audit, appeals=appeal, decay=options.decay
      ),
  )
  rates, value = estimate(state, options), observed.value
  rechecked = (appealed | audited).astype(jnp.float32)
  metrics = dict(zip(METRICS, map(Mean.of, (*rates, rechecked))))
  if options.overrule:
    value = appeals.overrule(value, appealed | audited, truth.value)
    rates = corrections.post_appeal_rates(
        rates,
        options.fraction,
        appeals.TRUSTED,
        audit_fraction=options.audit_fraction,
    )
  return Reward(value, observed.valid), rates, state, metrics
