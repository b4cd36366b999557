"""Whether predicted probabilities mean what they say.

Of a reward model: sigmoid(r(chosen) - r(rejected)) against the labels of
held-out pairs. `labels` are 1 or 0, or probabilities where several people
labelled a pair. Noisy labels bound what can be reached: a model that knows
the truth looks underconfident against them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, links, masking, statistics
from rewardjax.types import Scalar

_BISECTIONS = 40


def brier(
    probabilities: Float[Array, "*batch"],
    labels: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """(p - label)^2, 0 where masked; its mean is smallest at the truth.

  Gradient: flows through `probabilities`.

  References:
    Brier, "Verification of Forecasts Expressed in Terms of Probability",
      1950.
  """
  checks.same_shape(
      "brier", probabilities=probabilities, labels=labels, mask=mask
  )
  filled = masking.fill_masked(probabilities, mask)
  labels = jax.lax.stop_gradient(masking.fill_masked(labels, mask))
  return jnp.square(filled - labels)


class Reliability(NamedTuple):
  """Per bin of predicted probability; 0 where a bin is empty.

  confidence: mean prediction.
  frequency: mean label.
  count: of samples.
  """

  confidence: Float[Array, " K"]
  frequency: Float[Array, " K"]
  count: Float[Array, " K"]

  @property
  def expected_error(self) -> Float[Array, ""]:
    """Mean over samples of |confidence - frequency| of their bin (ECE).

    Biased upwards: a perfect predictor has about sqrt(1 / count) in each bin.
    """
    gaps = self.count * jnp.abs(self.confidence - self.frequency)
    return masking.safe_divide(jnp.sum(gaps), jnp.sum(self.count))

  @property
  def largest_error(self) -> Float[Array, ""]:
    """The largest |confidence - frequency| over bins (MCE)."""
    return jnp.max(jnp.abs(self.confidence - self.frequency))


def reliability(
    probabilities: Float[Array, "*batch"],
    labels: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    num_bins: int = 10,
) -> Reliability:
  """Predictions against outcomes in bins of equal width.

  Add the counts, and sums as mean times count, of several batches; bins do
  not depend on the data.

  Args:
    probabilities: of label 1, in [0, 1]; bin k holds [k / K, (k + 1) / K),
      the last one 1 as well.
    labels: 0 to 1.
    mask: True for real samples.
    num_bins: K (static).

  Gradient: none that is useful: it is 0 across bins.

  Raises:
    ValueError: if shapes differ or `num_bins` < 1.

  References:
    Guo et al., "On Calibration of Modern Neural Networks", 2017,
      arXiv:1706.04599.
  """
  where = "reliability"
  checks.same_shape(
      where, probabilities=probabilities, labels=labels, mask=mask
  )
  checks.at_least(where, 1, num_bins=num_bins)
  p = masking.fill_masked(probabilities, mask)
  bins = jnp.clip((p * num_bins).astype(jnp.int32), 0, num_bins - 1)
  total = lambda x: statistics.segment_counts(
      x.astype(p.dtype), bins, mask, num_segments=num_bins
  )
  count = total(jnp.ones_like(p))
  mean = lambda x: masking.safe_divide(total(x), count)
  return Reliability(mean(p), mean(labels), count)


def fit_temperature(
    margins: Float[Array, "*batch"],
    labels: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    low: Scalar = 0.01,
    high: Scalar = 100.0,
) -> Float[Array, ""]:
  """The t in [low, high] whose sigmoid(margin / t) has the best likelihood.

  One number for held-out pairs; it changes no ranking. Above 1 the model was
  overconfident. Compiles; the loss is convex in 1 / t.

  Args:
    margins: r(chosen) - r(rejected), in nats.
    labels: 1 where the chosen one is better, 0 to 1.
    mask: True for real pairs.
    low: least temperature, the answer where all pairs are won: then no
      temperature is too low.
    high: greatest, the answer where labels are no better than chance.

  Gradient: none.

  Raises:
    ValueError: if shapes differ or the bounds are not 0 < low < high.

  References:
    Guo et al., "On Calibration of Modern Neural Networks", 2017,
      arXiv:1706.04599.
  """
  where = "fit_temperature"
  checks.same_shape(where, margins=margins, labels=labels, mask=mask)
  checks.within(where, 0.0, high, low_open=True, high_open=True, low=low)
  margins = jax.lax.stop_gradient(masking.fill_masked(margins, mask))
  labels = masking.fill_masked(labels, mask)

  def rising(log_beta):  # the sign of d loss / d beta
    p = jax.nn.sigmoid(margins * jnp.exp(log_beta))
    return jnp.sum(margins * masking.fill_masked(p - labels, mask)) > 0

  def halve(_, bounds):
    below, above = bounds
    middle = 0.5 * (below + above)
    high_side = rising(middle)
    return jnp.where(high_side, below, middle), jnp.where(
        high_side, middle, above
    )

  bound = lambda t: -jnp.log(jnp.asarray(t, margins.dtype))
  ends = jax.lax.fori_loop(0, _BISECTIONS, halve, (bound(high), bound(low)))
  return jnp.exp(-0.5 * (ends[0] + ends[1]))


def negative_log_likelihood(
    margins: Float[Array, "*batch"],
    labels: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    temperature: Scalar = 1.0,
) -> Float[Array, "*batch"]:
  """-log of what sigmoid(margin / temperature) gave the label; nats per pair.

  Gradient: flows through `margins` and `temperature`.
  """
  checks.same_shape(
      "negative_log_likelihood", margins=margins, labels=labels, mask=mask
  )
  margins = masking.fill_masked(margins, mask)
  labels = masking.fill_masked(labels, mask)
  losses = links.mixed(margins / temperature, labels, 1 - labels)
  return masking.fill_masked(losses, mask)


class RiskCoverage(NamedTuple):
  """Accepting the most confident first; entry k accepts k + 1 samples.

  coverage: share of the valid samples accepted.
  risk: mean error among them.
  """

  coverage: Float[Array, "*batch N"]
  risk: Float[Array, "*batch N"]


def risk_coverage(
    confidence: Float[Array, "*batch N"],
    errors: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> RiskCoverage:
  """What abstaining gains: error among those it is most sure of.

  Args:
    confidence: larger is surer, such as |margin| or -std of an ensemble.
    errors: 1 where wrong, or any loss.
    mask: True for real samples; the entries past their number repeat the
      last.

  Returns:
    `RiskCoverage`; samples of equal confidence share their mean error, so
    that their order does not matter.

  Gradient: flows through `errors`.

  Raises:
    ValueError: if shapes differ.

  References:
    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks",
      2017, arXiv:1705.08500.
  """
  where = "risk_coverage"
  checks.same_shape(where, confidence=confidence, errors=errors, mask=mask)
  confidence = jax.lax.stop_gradient(masking.as_accumulator(confidence))
  errors = _share_ties(confidence, errors, mask)
  valid = jnp.ones(errors.shape, bool) if mask is None else mask
  surest = jnp.where(valid, -confidence, jnp.inf)
  # Valid first: a valid -inf must not stand behind a masked sample.
  order = jnp.lexsort((surest, ~valid), axis=-1)
  ordered = jnp.take_along_axis(errors, order, axis=-1)
  size = errors.shape[-1]
  count = masking.count(errors, mask, -1, keepdims=True)
  accepted = jnp.arange(1, size + 1, dtype=errors.dtype)
  accepted = jnp.minimum(
      accepted.reshape((1,) * (errors.ndim - 1) + (size,)), count
  )
  risk = masking.safe_divide(jnp.cumsum(ordered, axis=-1), accepted)
  coverage = accepted / jnp.maximum(count, 1)
  return RiskCoverage(coverage, risk)


def _share_ties(confidence, errors, mask):
  """Each sample's error replaced by the mean over those as sure as it is."""
  errors = masking.fill_masked(errors, mask)
  below, not_above = statistics.tie_bounds(confidence, mask)
  invalid = jnp.zeros(errors.shape, bool) if mask is None else ~mask
  order = jnp.lexsort((confidence, invalid), axis=-1)
  sums = jnp.cumsum(jnp.take_along_axis(errors, order, axis=-1), axis=-1)
  sums = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)
  up_to = lambda n: jnp.take_along_axis(sums, n, axis=-1)
  ties = (not_above - below).astype(errors.dtype)
  shared = (up_to(not_above) - up_to(below)) / jnp.maximum(ties, 1)
  # Alone it keeps its own digits.
  return jnp.where(ties > 1, shared, errors)


def area_under_risk(
    curve: RiskCoverage, mask: Bool[Array, "*batch N"] | None = None
) -> Float[Array, "*batch"]:
  """Mean risk over all coverages (AURC); lower is better."""
  if mask is not None:
    count = jnp.sum(mask, axis=-1, keepdims=True)
    slots = jnp.arange(mask.shape[-1])
    mask = slots.reshape((1,) * (mask.ndim - 1) + (-1,)) < count
  return masking.masked_mean(curve.risk, mask, axis=-1)
