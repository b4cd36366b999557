import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import flip_rates, preferences, rates
from tests import variants

flip_rates = variants.programs(flip_rates)
preferences = variants.programs(preferences)
rates = variants.programs(rates)

NAN = jnp.nan


def test_from_trusted_by_hand():
  observed = jnp.array([1.0, 0.0, 1.0, 1.0, NAN])
  truth = jnp.array([True, True, True, False, True])
  mask = jnp.array([True, True, True, True, False])
  actual = flip_rates.from_trusted(observed, truth, mask)
  expected = rates.rate_from_counts(2, 4)
  for a, b in zip(actual, expected):
    np.testing.assert_allclose(a, b[None])
  np.testing.assert_allclose(actual.rate, [3 / 6])
  assert actual.low < actual.rate < actual.high


def test_from_trusted_per_annotator():
  observed = jnp.array([1.0, 0.0, 1.0, 1.0, NAN, 0.0])
  truth = jnp.array([1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
  ids = jnp.array([0, 2, 2, 0, 2, 2])
  actual = flip_rates.from_trusted(
      observed, truth, ~jnp.isnan(observed), ids, num_annotators=3
  )
  np.testing.assert_allclose(actual.rate, [2 / 4, 1 / 2, 2 / 5])
  np.testing.assert_array_equal(actual.count, [2, 0, 3])
  table = preferences.symmetric(actual.rate)
  per_pair = preferences.rates_of(ids, table)
  np.testing.assert_allclose(per_pair.false_positive[:2], [0.5, 0.4])


@variants.every
def test_disagreement_by_hand(variant):
  labels = jnp.array([[1.0, 0.0, 1.0, NAN], [1.0, NAN, 1.0, NAN]])
  mask = ~jnp.isnan(labels)
  actual = variant(flip_rates.disagreement)(labels, mask)
  np.testing.assert_allclose(actual, [2 / 3, 0.0], rtol=1e-6)
  np.testing.assert_array_equal(
      flip_rates.disagreement(labels, jnp.zeros_like(mask)), 0.0
  )


@pytest.mark.parametrize("repeats", [2, 3])
def test_disagreement_is_unbiased(repeats):
  """Over all outcomes its mean is 2 e (1 - e), whatever the truth."""
  e = 0.2
  outcomes = np.array(list(itertools.product([0, 1], repeat=repeats)))
  for truth in (0, 1):
    wrong = (outcomes != truth).sum(-1)
    chance = e**wrong * (1 - e) ** (repeats - wrong)
    share = flip_rates.disagreement(jnp.array(outcomes, float))
    np.testing.assert_allclose(
        np.sum(chance * np.asarray(share)), 2 * e * (1 - e), rtol=1e-5
    )


def test_from_repeats_by_hand():
  # 18 of 100 disagree: (1 - sqrt(1 - .36)) / 2 = .1.
  labels = np.array([[1.0, 0.0]] * 18 + [[1.0, 1.0]] * 50 + [[0.0, 0.0]] * 32)
  actual = flip_rates.from_repeats(labels)
  np.testing.assert_allclose(actual.rate, 0.1, rtol=1e-5)
  d = rates.wilson(18, 100)
  for end, x in ((actual.low, d.low), (actual.high, d.high)):
    np.testing.assert_allclose(end, (1 - np.sqrt(1 - 2 * x)) / 2, rtol=1e-5)
  assert actual.count == 100
  once = np.concatenate([labels, [[1.0, NAN]] * 9])
  masked = flip_rates.from_repeats(once, ~np.isnan(once))
  np.testing.assert_allclose(masked.rate, 0.1, rtol=1e-5)
  assert masked.count == 100


@pytest.mark.parametrize("repeats", [2, 4])
def test_from_repeats_interval_holds_the_truth(repeats):
  """200 sets of 60 items at rate 0.15; the level is 0.9."""

  @jax.jit
  def estimates(key):
    wrong = jax.random.uniform(key, (200, 60, repeats)) < 0.15
    truth = jax.random.bernoulli(jax.random.key(1), 0.5, (200, 60, 1))
    return jax.vmap(lambda y: flip_rates.from_repeats(y, level=0.9))(
        wrong ^ truth
    )

  found = jax.device_get(estimates(jax.random.key(0)))
  held = np.mean((found.low <= 0.15) & (0.15 <= found.high))
  assert held > 0.84
  assert abs(np.mean(found.rate) - 0.15) < 0.02


def test_from_repeats_edges():
  chance = jnp.array([[1.0, 0.0]] * 6)
  assert flip_rates.from_repeats(chance).rate == 0.5
  agree = flip_rates.from_repeats(jnp.ones((6, 2)))
  assert agree.rate == 0.0 and agree.high > 0.1
  nothing = flip_rates.from_repeats(chance, jnp.zeros((6, 2), bool))
  assert nothing.count == 0 and (nothing.low, nothing.high) == (0.0, 0.5)


def test_from_annotators_is_exact_in_expectation():
  """Items with every outcome, as often as it is expected."""
  e = np.array([0.1, 0.3, 0.0, 0.25])
  rows, chances = [], []
  for outcome in itertools.product([0, 1], repeat=4):
    wrong = np.array(outcome)
    rows.append(wrong)
    chances.append(np.prod(np.where(wrong, e, 1 - e)))
  counts = np.round(np.array(chances) * 4000).astype(int)
  labels = np.repeat(np.array(rows), counts, axis=0)  # the truth is 0
  labels[::2] = 1 - labels[::2]  # and 1 for every other item
  actual = flip_rates.from_annotators(jnp.array(labels, float))
  np.testing.assert_allclose(actual, e, atol=2e-3)


def test_from_annotators_with_missing_labels():
  e = np.array([0.05, 0.2, 0.35, 0.5])
  n = 30_000
  random = np.random.default_rng(0)
  truth = random.random((n, 1)) < 0.3
  wrong = random.random((n, 4)) < e
  given = random.random((n, 4)) < 0.7
  labels = np.where(given, 1.0 * (truth ^ wrong), NAN)
  actual = flip_rates.from_annotators(labels, given)
  np.testing.assert_allclose(actual[:3], e[:3], atol=0.02)
  assert actual[3] > 0.4  # pure noise
  nobody = flip_rates.from_annotators(labels, np.zeros_like(given))
  np.testing.assert_allclose(nobody, 0.5)


def test_names_bad_arguments(no_jaxtyping):
  y = jnp.ones((4, 2))
  with pytest.raises(ValueError, match="annotators must be in \\[3"):
    flip_rates.from_annotators(y)
  with pytest.raises(ValueError, match="'mask': \\(4,\\)"):
    flip_rates.disagreement(y, jnp.ones(4, bool))
  with pytest.raises(ValueError, match="level must be in"):
    flip_rates.from_repeats(y, level=1.0)
  with pytest.raises(ValueError, match="'truth': \\(3,\\)"):
    flip_rates.from_trusted(y[:, 0], jnp.ones(3))
