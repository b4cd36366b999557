"""How often preference labels are flipped, estimated with intervals.

From labels whose truth is known: `noise.audits.audit`, which keeps both
rates apart, or `from_trusted` for symmetric ones. Without any truth, two
independent labels of the same pair tell a symmetric rate by how often they
disagree: `from_repeats`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, numerics, statistics
from rewardjax.noise import channels
from rewardjax.noise.rates import RateEstimate, rate_from_counts, wilson
from rewardjax.types import Scalar

Labels = Bool[Array, "*batch"] | Float[Array, "*batch"]


def from_trusted(
    observed: Labels,
    truth: Labels,
    mask: Bool[Array, "*batch"] | None = None,
    annotators: Int[Array, "*batch"] | None = None,
    *,
    num_annotators: int = 1,
    alpha: Scalar = 1.0,
    beta: Scalar = 1.0,
    level: Scalar = 0.95,
) -> RateEstimate:
  """A symmetric rate per annotator, from labels of pairs of known truth.

  Args:
    observed: labels, Bool or 0 and 1.
    truth: the right ones; anything where `mask` is False.
    mask: True where the truth is known.
    annotators: who gave each label, 0 .. A-1; None: all are one.
    num_annotators: A (static).
    alpha: prior flips of each annotator.
    beta: prior labels that were right.
    level: mass of the credible intervals.

  Returns:
    Estimates of shape `[A]`, `[1]` without annotators; their `rate` makes a
    table for `preferences.rates_of`.

  Raises:
    ValueError: if shapes differ, or `level` or a prior is out of range.
  """
  checks.same_shape(
      "from_trusted",
      observed=observed,
      truth=truth,
      mask=mask,
      annotators=annotators,
  )
  said, true = (channels.as_numbers(x) > 0.5 for x in (observed, truth))
  wrong = (said != true).astype(jnp.float32)
  if annotators is None:
    annotators = jnp.zeros(wrong.shape, int)
  count = lambda x: statistics.segment_counts(
      x, annotators, mask, num_segments=num_annotators
  )
  return rate_from_counts(
      count(wrong),
      count(jnp.ones_like(wrong)),
      alpha=alpha,
      beta=beta,
      level=level,
  )


def disagreement(
    labels: channels.Labels, mask: Bool[Array, "*batch R"] | None = None
) -> Float[Array, "*batch"]:
  """Share of the pairs of labels of one item that disagree; 0 below two.

  Args:
    labels: R independent labels of each item, the last axis.
    mask: True for labels that were given.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("disagreement", labels=labels, mask=mask)
  ones = (channels.as_numbers(labels) > 0.5).astype(jnp.float32)
  n = masking.count(ones, mask, -1)
  first = masking.masked_sum(ones, mask, -1)
  return masking.safe_divide(2 * first * (n - first), n * (n - 1))


def from_repeats(
    labels: channels.Labels,
    mask: Bool[Array, "*batch R"] | None = None,
    *,
    level: Scalar = 0.95,
) -> RateEstimate:
  """One symmetric rate below 1/2, from several labels of each pair.

      E[disagreement] = 2 e (1 - e),   so   e = (1 - sqrt(1 - 2 d)) / 2

  Labels must err independently of each other; pairs hard for everybody make
  errors agree and the rate come out too low. If rates differ between the
  annotators, 1 - 2 e is the geometric mean of theirs.

  Args:
    labels: R labels of each pair, 1 or 0; the last axis.
    mask: True for labels that were given; items with fewer than two say
      nothing.
    level: of the interval: Wilson's on d over items, carried over. It counts
      each item once, so it is too wide rather than too narrow where R > 2.

  Returns:
    Scalars; `count` is the number of items. Where labels disagree half of the
    time or more the rate is 1/2.

  Raises:
    ValueError: if shapes differ or `level` is outside (0, 1).
  """
  share = disagreement(labels, mask)
  given = masking.count(channels.as_numbers(labels), mask, -1)
  enough = given >= 2
  disagree = wilson(
      masking.masked_sum(share, enough),
      masking.count(share, enough),
      level=level,
  )
  low, high = _rate(disagree.low), _rate(disagree.high)
  return RateEstimate(_rate(disagree.rate), low, high, disagree.count)


def _rate(d):
  return 0.5 * (1 - jnp.sqrt(jnp.maximum(1 - 2 * d, 0.0)))


def from_annotators(
    labels: channels.Labels,
    mask: Bool[Array, "N A"] | None = None,
    *,
    min_agreement: Scalar = 1e-3,
) -> Float[Array, " A"]:
  """A symmetric rate of each of A >= 3 annotators, without any truth.

  With s = 1 - 2 e and labels as +-1, the mean product of the labels of a and
  b is s_a s_b, so that s_a^2 = c_ab c_ac / c_bc; here the mean over all pairs
  of others, weighted by how large their product c_bc is.

  Args:
    labels: `[N, A]`: item by annotator, 1 or 0.
    mask: True where an annotator labelled an item.
    min_agreement: floor of the divisor: without agreement between the others
      nothing can be said.

  Returns:
    Rates in [0, 1/2]: annotators are taken to be better than chance, since
    all of them reversed would look the same.

  Raises:
    ValueError: if shapes differ or there are fewer than three annotators.

  References:
    Joglekar et al., "Evaluating the Crowd with Confidence", KDD 2013 (three
      annotators).
  """
  checks.same_shape("from_annotators", labels=labels, mask=mask)
  num = labels.shape[-1]
  checks.at_least("from_annotators", 3, annotators=num)
  signs = masking.fill_masked(2 * channels.as_numbers(labels) - 1, mask)
  given = masking.fill_masked(jnp.ones_like(signs), mask)
  agreement = masking.safe_divide(signs.T @ signs, given.T @ given)
  others = agreement * (1 - jnp.eye(num, dtype=signs.dtype))
  # Sums over b != c of c_ab c_ac c_bc and of c_bc^2, both without a.
  above = jnp.einsum("ab,ac,bc->a", others, others, others)
  squares = jnp.square(others)
  below = jnp.sum(squares) - 2 * jnp.sum(squares, axis=-1)
  square = above / numerics.sign_floor(below, min_agreement)
  signal = jnp.sqrt(jnp.clip(square, 0.0, 1.0))
  return 0.5 * (1 - signal)
