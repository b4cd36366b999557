import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rewardjax.core import statistics
from rewardjax.diagnostics import agreement
from tests import variants

statistics = variants.programs(statistics)
agreement = variants.programs(agreement)

NAN = jnp.nan


@variants.every
def test_kappa_by_hand(variant):
  a = jnp.array([[1, 1, 0, 2, 1, 0, 7], [1, 1, 0, 2, 1, 0, 7]])
  b = jnp.array([[1, 0, 0, 2, 1, 1, 2], [1, 1, 0, 2, 1, 0, 1]])
  mask = jnp.array([[True] * 6 + [False]] * 2)
  kappa = variant(agreement.cohen_kappa)(a, b, mask, num_classes=3)
  np.testing.assert_allclose(kappa, [0.454545, 1], rtol=1e-5)


def test_kappa_of_independent_and_of_constant_labels():
  pairs = np.array(list(itertools.product(range(3), repeat=2)))
  independent = agreement.cohen_kappa(pairs[:, 0], pairs[:, 1], num_classes=3)
  assert independent == pytest.approx(0, abs=1e-6)
  same = np.zeros(4, int)
  assert agreement.cohen_kappa(same, same, num_classes=2) == 1
  assert agreement.cohen_kappa(same, same + 1, num_classes=2) == 0
  nothing = agreement.cohen_kappa(same, same, same > 0, num_classes=2)
  assert nothing == 0


@variants.every
def test_auroc_by_hand(variant):
  scores = jnp.array([[0.9, 0.5, 0.5, 0.1, NAN], [1.0, 2.0, 3.0, 4.0, NAN]])
  labels = jnp.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]]).astype(bool)
  mask = jnp.array([[True] * 4 + [False]] * 2)
  # Of four pairs three are won and one is tied.
  actual = variant(agreement.auroc)(scores, labels, mask)
  np.testing.assert_allclose(actual, [3.5 / 4, 1])


def test_auroc_against_all_pairs_and_without_a_class():
  random = np.random.default_rng(0)
  scores, labels = random.integers(0, 6, 60) / 2, random.random(60) < 0.4
  positive, negative = scores[labels], scores[~labels]
  wins = positive[:, None] > negative
  ties = positive[:, None] == negative
  expected = np.mean(wins + 0.5 * ties)
  actual = agreement.auroc(jnp.array(scores), jnp.array(labels))
  assert actual == pytest.approx(expected, rel=1e-5)
  assert np.isnan(agreement.auroc(jnp.ones(3), jnp.ones(3, bool)))


def gini_by_order(values, order):
  """The area between the curve of cumulative shares and the diagonal."""
  shares = np.cumsum(values[order]) / values.sum()
  return shares.sum() - (len(values) + 1) / 2


@variants.every
def test_norm_gini_by_hand(variant):
  values = jnp.array([[0.0, 1.0, 3.0, NAN], [0.0, 1.0, 3.0, NAN]])
  scores = jnp.array([[0.1, 0.3, 0.2, NAN], [0.3, 0.2, 0.1, NAN]])
  mask = jnp.array([[True] * 3 + [False]] * 2)
  # cov with ranks (0, 2, 1), (2, 1, 0) over that with (0, 1, 2).
  actual = variant(agreement.norm_gini)(values, scores, mask)
  np.testing.assert_allclose(actual, [1 / 3, -1], rtol=1e-5)


def test_norm_gini_against_the_curve_and_under_ties():
  random = np.random.default_rng(0)
  values, scores = random.exponential(size=30), random.normal(size=30)
  expected = gini_by_order(values, np.argsort(-scores)) / gini_by_order(
      values, np.argsort(-values)
  )
  actual = agreement.norm_gini(jnp.array(values), jnp.array(scores))
  assert actual == pytest.approx(expected, rel=1e-4)
  # Ties: the mean over both orders of the tied pair.
  values = np.array([5.0, 1.0, 2.0])
  tied = agreement.norm_gini(jnp.array(values), jnp.array([1.0, 1.0, 0.0]))
  own = gini_by_order(values, np.argsort(-values))
  orders = [[0, 1, 2], [1, 0, 2]]
  expected = np.mean([gini_by_order(values, o) / own for o in orders])
  assert tied == pytest.approx(expected, rel=1e-5)
  assert np.isnan(agreement.norm_gini(jnp.ones(3), jnp.arange(3.0)))


@variants.every
def test_spearman_by_hand(variant):
  x = jnp.array([[1.0, 2.0, 3.0, 4.0, NAN], [1.0, 2.0, 3.0, 4.0, NAN]])
  y = jnp.array([[1.0, 3.0, 2.0, 9.0, NAN], [4.0, 3.0, 2.0, 1.0, NAN]])
  mask = jnp.array([[True] * 4 + [False]] * 2)
  actual = variant(statistics.spearman)(x, y, mask)
  # 1 - 6 sum d^2 / (n (n^2 - 1)) with d = (0, 1, -1, 0).
  np.testing.assert_allclose(actual, [0.8, -1], rtol=1e-6)


def test_spearman_with_ties_against_scipy():
  random = np.random.default_rng(0)
  x, y = random.integers(0, 5, (2, 50)).astype(float)
  expected = scipy.stats.spearmanr(x, y).statistic
  actual = statistics.spearman(jnp.array(x), jnp.array(y))
  assert actual == pytest.approx(expected, rel=1e-5)


@variants.every
def test_a_constant_has_no_spearman_however_it_is_compiled(variant):
  x = jnp.array([[2.0] * 7, [*range(6), NAN]])
  y = jnp.array([[*range(7)], [3.0] * 7], float)
  mask = jnp.array([[True] * 7, [True] * 6 + [False]])
  assert np.all(np.isnan(variant(statistics.spearman)(x, y, mask)))


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"cohen_kappa: .*'b': \(3,\)"):
    agreement.cohen_kappa(jnp.ones(2, int), jnp.ones(3, int), num_classes=2)
  with pytest.raises(ValueError, match="num_classes must be in"):
    agreement.cohen_kappa(jnp.ones(2, int), jnp.ones(2, int), num_classes=0)
  with pytest.raises(ValueError, match=r"auroc: .*'labels': \(3,\)"):
    agreement.auroc(jnp.ones(2), jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"norm_gini: .*'scores': \(3,\)"):
    agreement.norm_gini(jnp.ones(2), jnp.ones(3))
  with pytest.raises(ValueError, match=r"spearman: .*'y': \(3,\)"):
    statistics.spearman(jnp.ones(2), jnp.ones(3))


def test_rank_agreement_is_the_mean_over_pairs_of_members():
  x = np.array([[1.0, 10.0, 4.0], [2.0, 20.0, 3.0], [3.0, 40.0, 2.0],
                [4.0, 30.0, 1.0], [np.nan, np.nan, np.nan]])
  mask = jnp.arange(5) < 4
  actual = agreement.rank_agreement(jnp.asarray(x), mask)
  # Ranks 0123, 0132, 3210: correlations .8, -1 and -.8.
  np.testing.assert_allclose(actual, (0.8 - 1 - 0.8) / 3, rtol=1e-5)
  same = agreement.rank_agreement(jnp.asarray(x[:4, :1] ** [1, 3]))
  np.testing.assert_allclose(same, 1, rtol=1e-6)
  with pytest.raises(ValueError, match="members must be in"):
    agreement.rank_agreement(jnp.ones((4, 1)))
