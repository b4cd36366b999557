"""Preference labels that are sometimes wrong, and losses that allow for it.

A label says which of two items an annotator found better: 1 the first, 0 the
second. Its error rates are `NoiseRates` as those of a verifier:

    false_positive: P(label 1 | the second is better)
    false_negative: P(label 0 | the first is better)

Both the same for flips that ask nothing of the truth (`symmetric`); unlike
for annotators drawn to one position, or pairs listed chosen first, where
only false positives can be seen. An array gives each pair the rates of its
annotator or source: `rates_of`.

    backward_loss: unbiased whatever the truth is; variance grows as 1 / J^2.
    forward_loss: the likelihood of the label; consistent where the rewards
      are log-odds, and bounded where `backward_loss` is not.
    `core.links.sigmoid`: needs no rates if they are symmetric.
    Smoothing (`posterior` as a soft target): neither; it bounds confidence.

References:
  Natarajan et al., "Learning with Noisy Labels", NeurIPS 2013 (backward).
  Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss
    Correction Approach", CVPR 2017, arXiv:1609.03683 (both).
  Chowdhury et al., "Provably Robust DPO: Aligning Language Models with Noisy
    Feedback", 2024, arXiv:2403.00409 (backward, symmetric, one rate).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, links, masking
from rewardjax.noise import channels, corrections
from rewardjax.types import NoiseRates, Scalar

Labels = Bool[Array, "*batch"] | Float[Array, "*batch"]


def symmetric(rate: Scalar | Float[Array, "*shape"]) -> NoiseRates:
  """Both rates `rate`: a flip that does not ask which item is better."""
  return NoiseRates(rate, rate)


def reversed_rates(rates: NoiseRates) -> NoiseRates:
  """The rates seen from the second item: of 1 - label."""
  return NoiseRates(rates.false_negative, rates.false_positive)


def rates_of(
    ids: Int[Array, "*batch"], table: NoiseRates
) -> NoiseRates:
  """Rates per pair from a table of rates per annotator or source.

  Args:
    ids: 0 .. A-1, who labelled each pair.
    table: arrays `[A]`.

  Raises:
    ValueError: if the table's two arrays differ in shape or are no vectors.
  """
  checks.same_shape("rates_of", **table._asdict())
  if jnp.ndim(table.false_positive) != 1:
    raise ValueError(
        f"rates_of: table must hold [A], got "
        f"{jnp.shape(table.false_positive)}."
    )
  return NoiseRates(*(rate[ids] for rate in table))


def _prepare(where, margins, labels, rates, mask):
  """Margins and labels without NaN, and rates of their shape."""
  corrections.check_rates(where, rates)
  checks.same_shape(where, margins=margins, labels=labels, mask=mask)
  rates = channels.spread_rates(where, rates, margins)
  labels = jax.lax.stop_gradient(channels.as_numbers(labels))
  labels = masking.fill_masked(labels, mask)
  margins = masking.fill_masked(margins, mask)
  # Rates of masked pairs may be unknown too.
  rates = NoiseRates(*(masking.fill_masked(rate, mask) for rate in rates))
  return margins, labels.astype(margins.dtype), rates


def backward_loss(
    margins: Float[Array, "*batch"],
    labels: Labels,
    rates: NoiseRates,
    mask: Bool[Array, "*batch"] | None = None,
    *,
    link: links.Link = links.logistic,
    min_youden: Scalar = 0.05,
) -> Float[Array, "*batch"]:
  """A loss whose mean over flips is the loss of the truth, pair by pair.

      label 1: ((1 - rho0) l(m) - rho1 l(-m)) / J
      label 0: ((1 - rho1) l(-m) - rho0 l(m)) / J,    J = 1 - rho0 - rho1

  Values and gradients are unbiased for any link, margin and rates. One pair
  may well have a negative loss, without bound: watch the mean of a held-out
  set, stop early, or take `forward_loss`.

  Args:
    margins: r(first) - r(second).
    labels: as observed, 1 or True where the first was found better.
    rates: numbers, or arrays that broadcast to the rank of `margins`.
    mask: True for real pairs.
    link: the loss l of a margin (static).
    min_youden: |J| is floored here, its sign kept: at a rate of 1/2, where a
      label says nothing, the expected gradient is 0 instead of infinite.

  Returns:
    Loss per pair, float32 or wider, 0 where masked.

  Gradient: flows through `margins` and, if arrays, `rates`; labels are held.

  Raises:
    ValueError: if shapes do not fit, or rates are Python numbers with J <= 0.
  """
  where = "backward_loss"
  checks.within(where, 0.0, low_open=True, min_youden=min_youden)
  margins, labels, rates = _prepare(where, margins, labels, rates, mask)
  estimate = lambda labels, rates: corrections.backward_reward(
      labels, rates, min_youden=min_youden
  )
  won = estimate(labels, rates)
  # Not 1 - won: under the guard that would prefer the second item.
  lost = estimate(1 - labels, reversed_rates(rates))
  losses = links.mixed(margins, won, lost, link=link)
  return masking.fill_masked(losses, mask)


def forward_loss(
    margins: Float[Array, "*batch"],
    labels: Labels,
    rates: NoiseRates,
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """-log P(label), margins being log-odds of the truth.

      P(label 1) = (1 - rho1) sigmoid(m) + rho0 sigmoid(-m)

  Never below 0, at most -log of the rate: a pair that is surely wrong loses
  its pull. Nothing is divided by J; at a rate of 1/2 the gradient is 0.
  Rates may be trained along as long as margins are bounded (a penalty, few
  epochs): one rate is then identified by pairs that are nearly certain.

  Args:
    margins: r(first) - r(second), in nats.
    labels: as observed, 1 or True where the first was found better.
    rates: numbers, or arrays that broadcast to the rank of `margins`.
    mask: True for real pairs.

  Returns:
    Nats per pair, float32 or wider, 0 where masked.

  Gradient: flows through `margins` and, if arrays, `rates`, but a rate of
    exactly 0 has none: give rates to be trained as sigmoids. Labels are held.

  Raises:
    ValueError: if shapes do not fit, or rates are Python numbers with J <= 0.
  """
  margins, labels, rates = _prepare(
      "forward_loss", margins, labels, rates, mask
  )
  first = labels > 0.5
  # Of a label 0 the roles of the items, and of the rates, are exchanged.
  margins = jnp.where(first, margins, -margins)
  right = 1 - jnp.where(first, rates.false_negative, rates.false_positive)
  wrong = jnp.where(first, rates.false_positive, rates.false_negative)
  likely = _log(right) - links.logistic(margins)
  unlikely = _log(wrong) - links.logistic(-margins)
  return masking.fill_masked(-jnp.logaddexp(likely, unlikely), mask)


def _log(x):
  """log x, with gradient 0 instead of infinity where x is 0."""
  return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)


def posterior(
    labels: Labels,
    rates: NoiseRates,
    *,
    prior: Scalar | Float[Array, "*#batch"] = 0.5,
) -> Float[Array, "*batch"]:
  """P(the first is better | label): a soft target.

  With the default prior and one symmetric rate this is label smoothing,
  1 - rate and rate. A model's own probability as the prior makes targets
  that believe the model where the label is doubtful.

  Args:
    labels: as observed.
    rates: numbers, or arrays that broadcast to the rank of `labels`.
    prior: P(the first is better) before the label is seen.

  Gradient: flows through `rates` and `prior`.

  Raises:
    ValueError: if rates do not fit or `prior` is no probability.
  """
  where = "posterior"
  checks.probability(where, prior=prior)
  rates = channels.spread_rates(where, rates, labels)
  first = channels.as_numbers(labels) > 0.5
  seen_if_first = jnp.where(
      first, 1 - rates.false_negative, rates.false_negative
  )
  seen_if_second = jnp.where(
      first, rates.false_positive, 1 - rates.false_positive
  )
  a, b = prior * seen_if_first, (1 - prior) * seen_if_second
  # A label that cannot have been seen leaves the prior as it was.
  none = a + b == 0
  return jnp.where(none, prior, a / jnp.where(none, 1.0, a + b))
