import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import links
from rewardjax.noise import channels, preferences
from rewardjax.types import NoiseRates
from tests import variants

links = variants.programs(links)
channels = variants.programs(channels)
preferences = variants.programs(preferences)

NAN = jnp.nan
MARGINS = jnp.array([[0.9, -0.4, NAN], [2.0, -3.0, 0.0]])
LABELS = jnp.array([[1.0, 0.0, 1.0], [1.0, 1.0, NAN]])
MASK = jnp.array([[True, True, False], [True, True, False]])
RATES = NoiseRates(0.1, 0.3)
losses = pytest.mark.parametrize(
    "loss", [preferences.backward_loss, preferences.forward_loss]
)
s = lambda x: 1 / (1 + np.exp(-x))


def by_hand(kind, m, label, rates):
  """In float64, from the definition."""
  rho0, rho1 = rates
  if kind == "forward":
    p = (1 - rho1) * s(m) + rho0 * s(-m)
    return -np.log(p if label else 1 - p)
  first, second = -np.log(s(m)), -np.log(s(-m))
  if label:
    return ((1 - rho0) * first - rho1 * second) / (1 - rho0 - rho1)
  return ((1 - rho1) * second - rho0 * first) / (1 - rho0 - rho1)


@variants.every
@pytest.mark.parametrize("kind", ["backward", "forward"])
def test_losses_by_hand(variant, kind):
  loss = getattr(preferences, f"{kind}_loss")
  actual = variant(lambda m, y, k: loss(m, y, RATES, k))(
      MARGINS, LABELS, MASK
  )
  for i in range(2):
    for j in range(2):
      expected = by_hand(kind, MARGINS[i, j], LABELS[i, j], RATES)
      np.testing.assert_allclose(actual[i, j], expected, rtol=1e-5)
  np.testing.assert_array_equal(actual[:, 2], 0.0)


@pytest.mark.parametrize(
    "link",
    [links.logistic, links.sigmoid, functools.partial(links.hinge)],
)
def test_backward_values_and_gradients_are_unbiased(link):
  """Sums over both labels of each truth, per pair rates, some with J < 0."""
  margins = jnp.array([1.3, -0.7, 0.2, 2.5])
  rates = NoiseRates(
      jnp.array([0.0, 0.1, 0.4, 0.9]), jnp.array([0.2, 0.45, 0.4, 0.8])
  )

  def mean(m, truth):
    total = 0.0
    for label in (0.0, 1.0):
      flip = rates.false_negative if truth else rates.false_positive
      chance = 1 - flip if label == truth else flip
      observed = jnp.full(4, label)
      total += chance * preferences.backward_loss(
          m, observed, rates, link=link
      )
    return total

  for truth in (0, 1):
    clean = lambda m: link(m if truth else -m)  # noqa: B023
    np.testing.assert_allclose(
        mean(margins, truth), clean(margins), rtol=1e-4, atol=1e-5
    )
    slope = variants.grad(lambda m: jnp.sum(mean(m, truth)))(margins)  # noqa: B023
    expected = variants.grad(lambda m: jnp.sum(clean(m)))(margins)  # noqa: B023
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_forward_is_minimal_at_the_truth():
  """Expected gradient 0 at the true log-odds, and nowhere else."""
  truth = jnp.array([-2.0, -0.3, 0.0, 1.7])
  p = jax.nn.sigmoid(truth)
  observed = 0.7 * p + 0.1 * (1 - p)

  def risk(m):
    one = preferences.forward_loss(m, jnp.ones(4), RATES)
    zero = preferences.forward_loss(m, jnp.zeros(4), RATES)
    return jnp.sum(observed * one + (1 - observed) * zero)

  np.testing.assert_allclose(variants.grad(risk)(truth), 0.0, atol=1e-6)
  for step in (-0.2, 0.2):
    slope = variants.grad(risk)(truth + step)
    assert np.all(np.sign(slope) == np.sign(step))
  # The same point solves the backward risk.
  backward = lambda m: jnp.sum(
      observed * preferences.backward_loss(m, jnp.ones(4), RATES)
      + (1 - observed) * preferences.backward_loss(m, jnp.zeros(4), RATES)
  )
  np.testing.assert_allclose(variants.grad(backward)(truth), 0.0, atol=1e-5)


def test_one_rate_keeps_the_order_and_many_do_not():
  """Where the plain loss ends: the log-odds of the observed label."""
  p = jnp.array([0.9, 0.7, 0.4])
  logit = lambda p: jnp.log(p / (1 - p))

  def ends_at(rates):
    seen = p * (1 - rates.false_negative) + (1 - p) * rates.false_positive
    risk = lambda m: jnp.sum(links.mixed(m, seen, 1 - seen))
    np.testing.assert_allclose(variants.grad(risk)(logit(seen)), 0.0, atol=1e-6)
    return logit(seen)

  clean = logit(p)
  one = ends_at(preferences.symmetric(0.3))
  assert np.all(np.abs(one) < np.abs(clean))
  np.testing.assert_array_equal(np.sign(one), np.sign(clean))
  np.testing.assert_array_equal(np.argsort(one), np.argsort(clean))
  many = ends_at(preferences.symmetric(jnp.array([0.4, 0.0, 0.0])))
  assert many[0] < many[1] and clean[0] > clean[1]
  # Two rates: the wrong item may win.
  biased = ends_at(NoiseRates(0.5, 0.0))
  assert biased[2] > 0 > clean[2]


@losses
def test_without_noise_both_are_the_plain_loss(loss):
  margins = jnp.array([1.3, -40.0, 0.0, 200.0])
  for label in (1.0, 0.0):
    actual = loss(margins, jnp.full(4, label), NoiseRates(0.0, 0.0))
    plain = links.logistic(margins if label else -margins)
    np.testing.assert_allclose(actual, plain, rtol=1e-6, atol=1e-6)


@losses
def test_gradients_in_closed_form(loss):
  def total(m, labels):
    return jnp.sum(loss(m, labels, RATES, MASK))

  slope, held = variants.grad(total, argnums=(0, 1))(MARGINS, LABELS)
  np.testing.assert_array_equal(held, 0.0)
  np.testing.assert_array_equal(slope[:, 2], 0.0)
  m, first = MARGINS[:, :2].astype(float), LABELS[:, :2] > 0.5
  if loss is preferences.backward_loss:
    # sigmoid(m) - target where the two weights sum to 1.
    target = np.where(first, 0.9 / 0.6, -0.1 / 0.6)
    expected = s(np.asarray(m)) - target
  else:
    p = 0.7 * s(m) + 0.1 * s(-m)
    rise = 0.6 * s(m) * s(-m)
    expected = np.where(first, -rise / p, rise / (1 - p))
  np.testing.assert_allclose(slope[:, :2], expected, rtol=1e-4)


@pytest.mark.parametrize("rate", [0.5, 0.499])
@losses
def test_rates_at_one_half_are_guarded(loss, rate):
  """Pain 21 (MOSS-RLHF #43, TRL #1653): division by 1 - 2 rate."""
  rates = preferences.symmetric(jnp.full(3, rate))
  margins = jnp.array([5.0, -0.3, 0.0])
  expected = 0.0
  for label in (0.0, 1.0):
    value, slope = variants.value_and_grad(
        lambda m: jnp.sum(loss(m, jnp.full(3, label), rates))  # noqa: B023
    )(margins)
    assert np.isfinite(value) and np.all(np.abs(slope) <= 20)
    chance = rate if label == 0 else 1 - rate
    expected = expected + chance * slope
  # The truth is "first": what is left of its gradient is J / J_guard of it,
  # or for the likelihood less than that; never a push the other way.
  limit = (1 - 2 * rate) / 0.05
  assert np.all(np.abs(expected) <= limit + 1e-5)
  if rate == 0.5:
    np.testing.assert_allclose(expected, 0.0, atol=1e-6)


def test_guarded_backward_loss_is_short_but_not_turned():
  rates = preferences.symmetric(jnp.full(2, 0.49))  # J = .02, guard .05
  margins = jnp.array([1.0, -2.0])
  for truth in (0, 1):
    slope = 0.0
    for label in (0, 1):
      chance = 0.51 if label == truth else 0.49
      slope += chance * variants.grad(
          lambda m: jnp.sum(  # noqa: B023
              preferences.backward_loss(m, jnp.full(2, 1.0 * label), rates)  # noqa: B023
          )
      )(margins)
    sign = 1 if truth else -1
    clean = -sign * s(-sign * np.asarray(margins))
    np.testing.assert_allclose(slope, 0.4 * clean, rtol=1e-3, atol=1e-5)


def test_a_forward_pair_that_is_surely_wrong_loses_its_pull():
  margins = jnp.array([-30.0, -300.0])
  loss = lambda m: jnp.sum(
      preferences.forward_loss(m, jnp.ones(2), preferences.symmetric(0.2))
  )
  value, slope = variants.value_and_grad(loss)(margins)
  np.testing.assert_allclose(value, -2 * np.log(0.2), rtol=1e-5)
  np.testing.assert_allclose(slope, 0.0, atol=1e-6)
  backward = variants.grad(
      lambda m: jnp.sum(
          preferences.backward_loss(
              m, jnp.ones(2), preferences.symmetric(0.2)
          )
      )
  )(margins)
  np.testing.assert_allclose(backward, -0.8 / 0.6, rtol=1e-5)


def test_gradients_of_rates_are_finite_at_zero():
  def total(rho0, rho1):
    rates = NoiseRates(rho0, rho1)
    return jnp.sum(preferences.forward_loss(MARGINS, LABELS, rates, MASK))

  slopes = variants.grad(total, argnums=(0, 1))(jnp.array(0.2), jnp.array(0.3))
  for slope, i in zip(slopes, (0, 1)):
    eps, point = 1e-6, np.array([0.2, 0.3])
    step = np.eye(2)[i] * eps
    both = [
        sum(
            by_hand("forward", float(MARGINS[r, c]), LABELS[r, c], point + d)
            for r in range(2) for c in range(2)
        )
        for d in (step, -step)
    ]
    np.testing.assert_allclose(
        slope, (both[0] - both[1]) / (2 * eps), rtol=1e-3
    )
  at_zero = variants.grad(total, argnums=(0, 1))(jnp.array(0.0), jnp.array(0.0))
  assert np.all(np.isfinite(at_zero))


def test_the_likelihood_knows_its_rates():
  """Expected gradient of the rates: 0 at the true ones, else towards them."""
  p = jax.nn.sigmoid(jnp.array([-4.0, -1.0, 0.5, 3.0]))
  margins = jnp.log(p / (1 - p))
  seen = 0.7 * p + 0.1 * (1 - p)

  def risk(rho0, rho1):
    rates = NoiseRates(rho0, rho1)
    one = preferences.forward_loss(margins, jnp.ones(4), rates)
    zero = preferences.forward_loss(margins, jnp.zeros(4), rates)
    return jnp.sum(seen * one + (1 - seen) * zero)

  slope = variants.grad(risk, argnums=(0, 1))
  at = lambda a, b: np.array(slope(jnp.array(a), jnp.array(b)))
  np.testing.assert_allclose(at(0.1, 0.3), 0.0, atol=1e-5)
  assert at(0.2, 0.3)[0] > 0.1 and at(0.05, 0.3)[0] < -0.1
  assert at(0.1, 0.4)[1] > 0.1 and at(0.1, 0.2)[1] < -0.1


def test_rates_per_annotator():
  table = NoiseRates(jnp.array([0.0, 0.1, 0.4]), jnp.array([0.0, 0.3, 0.2]))
  ids = jnp.array([2, 0, 1, 1])
  rates = preferences.rates_of(ids, table)
  margins, labels = jnp.array([1.0, -1.0, 0.5, 2.0]), jnp.array([1.0, 0, 1, 0])
  for kind in ("backward", "forward"):
    loss = getattr(preferences, f"{kind}_loss")
    actual = loss(margins, labels, rates)
    expected = [
        by_hand(kind, m, y, (table[0][a], table[1][a]))
        for m, y, a in zip(margins, labels, ids)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_flipped_items_are_the_same_pair():
  """Margins and labels turned round, and the rates with them."""
  for loss in (preferences.backward_loss, preferences.forward_loss):
    a = loss(MARGINS, LABELS, RATES, MASK)
    b = loss(
        -MARGINS, 1 - LABELS, preferences.reversed_rates(RATES), MASK
    )
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@variants.every
def test_posterior_by_hand(variant):
  labels = jnp.array([[1.0, 0.0], [0.0, 1.0]])
  actual = variant(lambda y: preferences.posterior(y, RATES))(labels)
  one, zero = 0.7 / 0.8, 0.3 / 1.2
  np.testing.assert_allclose(actual, [[one, zero], [zero, one]], rtol=1e-6)


def test_posterior_is_bayes_and_smoothing():
  labels, prior = jnp.array([1.0, 0.0]), jnp.array([0.9, 0.2])
  joint = prior * jnp.array([0.7, 0.3])
  other = (1 - prior) * jnp.array([0.1, 0.9])
  actual = preferences.posterior(labels, RATES, prior=prior)
  np.testing.assert_allclose(actual, joint / (joint + other), rtol=1e-6)
  smooth = preferences.posterior(labels, preferences.symmetric(0.1))
  np.testing.assert_allclose(smooth, [0.9, 0.1], rtol=1e-6)
  impossible = preferences.posterior(
      jnp.array([0.0]), NoiseRates(0.0, 0.0), prior=1.0
  )
  np.testing.assert_allclose(impossible, [1.0])


def test_the_corrected_mean_over_a_channel_is_the_clean_mean():
  """With `channels.flip_binary`; a wrong rate shows at this many draws."""
  key = jax.random.key(0)
  margins = jax.random.normal(key, (40_000,)) + 1
  truth = jnp.ones(40_000)
  seen = channels.flip_binary(jax.random.key(1), truth, RATES)
  actual = jnp.mean(preferences.backward_loss(margins, seen, RATES))
  clean = jnp.mean(links.logistic(margins))
  raw = jnp.mean(links.mixed(margins, seen, 1 - seen))
  assert abs(actual - clean) < 0.03 < abs(raw - clean)


@losses
def test_bfloat16_margins(loss):
  half = MARGINS.astype(jnp.bfloat16)
  out = loss(half, LABELS > 0.5, RATES, MASK)
  assert out.dtype == jnp.float32
  expected = loss(half.astype(jnp.float32), LABELS, RATES, MASK)
  np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  m, y = jnp.ones(3), jnp.ones(3)
  for loss in (preferences.backward_loss, preferences.forward_loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=f"{name}: false_positive \\+"):
      loss(m, y, preferences.symmetric(0.5))
    with pytest.raises(ValueError, match=f"{name}: false_positive must be"):
      loss(m, y, NoiseRates(1.2, 0.0))
    with pytest.raises(ValueError, match="'labels': \\(2,\\)"):
      loss(m, y[:2], RATES)
    with pytest.raises(ValueError, match="false_negative must broadcast"):
      loss(m, y, NoiseRates(0.1, jnp.ones(2)))
  with pytest.raises(ValueError, match="min_youden must be in \\(0"):
    preferences.backward_loss(m, y, RATES, min_youden=0.0)
  with pytest.raises(ValueError, match="table must hold \\[A\\]"):
    preferences.rates_of(jnp.zeros(3, int), NoiseRates(0.1, 0.2))
  with pytest.raises(ValueError, match="posterior: prior must be in"):
    preferences.posterior(y, RATES, prior=2.0)
