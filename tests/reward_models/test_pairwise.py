import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import masking
from rewardjax.reward_models import pairwise
from tests import variants

pairwise = variants.programs(pairwise)

NAN = jnp.nan
DIFF = jnp.array([[0.9, NAN], [-0.4, 2.0]])
MASK = jnp.array([[True, False], [True, True]])


def reference(diff, target=1.0, margin=0.0, beta=1.0, weight=1.0):
  z = beta * (np.asarray(diff, np.float64) - margin)
  p = 1 / (1 + np.exp(-z))
  return weight * (-target * np.log(p) - (1 - target) * np.log(1 - p))


@variants.every
def test_pairwise_logistic_by_hand(variant):
  actual = variant(pairwise.pairwise_logistic)(
      DIFF, MASK, target=0.9, margin=0.5, beta=2.0, weight=3.0
  )
  expected = reference(jnp.nan_to_num(DIFF), 0.9, 0.5, 2.0, 3.0)
  expected[0, 1] = 0.0
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options,expected",
    [
        ({}, 0.341154),
        ({"margin": 1.0}, 0.744397),
        ({"weight": 3.0}, 1.023462),
        ({"target": 0.9}, 0.431154),
        ({"target": 0.0}, 1.241154),
    ],
)
def test_special_cases(options, expected):
  actual = pairwise.pairwise_logistic(jnp.array([0.9]), **options)
  np.testing.assert_allclose(actual, [expected], atol=1e-6)


def test_options_per_pair():
  diff = jnp.array([0.9, -0.4, 2.0])
  options = dict(
      target=jnp.array([1.0, 0.3, 0.0]),
      margin=jnp.array([0.0, 1.0, -2.0]),
      beta=jnp.array([0.1, 1.0, 2.0]),
      weight=jnp.array([1.0, 2.0, 0.0]),
  )
  expected = reference(diff, **{k: np.array(v) for k, v in options.items()})
  actual = pairwise.pairwise_logistic(diff, **options)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-12)


def test_gradient_in_closed_form_and_data_held():
  def total(diff, target, margin, beta, weight):
    return jnp.sum(
        pairwise.pairwise_logistic(
            diff, MASK, target=target, margin=margin, beta=beta, weight=weight
        )
    )

  ones = jnp.ones(DIFF.shape)
  arguments = (DIFF, 0.8 * ones, 0.5 * ones, 2 * ones, 3 * ones)
  slope, *held = variants.grad(total, argnums=(0, 1, 2, 3, 4))(*arguments)
  z = 2 * (np.nan_to_num(DIFF) - 0.5)
  expected = -3 * 2 * (0.8 - 1 / (1 + np.exp(-z))) * np.asarray(MASK)
  np.testing.assert_allclose(slope, expected, rtol=1e-5)
  for gradient in held:
    np.testing.assert_array_equal(gradient, 0.0)


def test_an_offset_of_the_prompt_changes_nothing():
  r = jax.random.normal(jax.random.key(0), (2, 5))
  offset = jnp.arange(5.0) * 8
  alone = pairwise.pairwise_logistic(r[0] - r[1])
  moved = pairwise.pairwise_logistic((r[0] + offset) - (r[1] + offset))
  np.testing.assert_allclose(alone, moved, rtol=1e-5)


def test_far_out_differences_are_finite():
  """Pain 17 (OpenRLHF `LogExpLoss`): log(1 + exp(diff)) overflows."""
  diff = jnp.array([-1e4, 1e4])
  np.testing.assert_allclose(pairwise.pairwise_logistic(diff), [1e4, 0.0])
  slope = variants.grad(lambda d: jnp.sum(pairwise.pairwise_logistic(d)))(diff)
  np.testing.assert_allclose(slope, [-1.0, 0.0])
  half = pairwise.pairwise_logistic(diff.astype(jnp.bfloat16))
  assert half.dtype == jnp.float32


def test_a_margin_that_is_given_is_used():
  """Pain 17: a loss that silently ignores the margin it is given."""
  diff = jnp.array([0.7, 1.3])
  a = pairwise.pairwise_logistic(diff, margin=diff)
  np.testing.assert_allclose(a, np.log(2), rtol=1e-6)


@variants.every
def test_penalties_by_hand(variant):
  chosen = jnp.array([[2.0, NAN], [1.0, 3.0]])
  rejected = jnp.array([[-1.0, 5.0], [NAN, -3.0]])
  mask = jnp.array([[True, False], [False, True]])
  centre = variant(pairwise.centre_penalty)(chosen, rejected, mask)
  zero = variant(pairwise.zero_penalty)(chosen, rejected, mask)
  np.testing.assert_allclose(centre, [[1, 0], [0, 0]])
  np.testing.assert_allclose(zero, [[2.5, 0], [0, 9]])


@pytest.mark.parametrize(
    "penalty,expected",
    [
        (pairwise.centre_penalty, [[2.0, 0.0], [2.0, 0.0]]),
        (pairwise.zero_penalty, [[2.0, 0.0], [-1.0, 0.0]]),
    ],
)
def test_penalty_gradients(penalty, expected):
  rewards = jnp.array([[2.0, NAN], [-1.0, 5.0]])
  mask = jnp.array([True, False])
  slope = variants.grad(lambda r: jnp.sum(penalty(r[0], r[1], mask)))(rewards)
  np.testing.assert_allclose(slope, expected)


@variants.every
def test_rao_kupper_by_hand(variant):
  diff = jnp.array([[1.0, 1.0, 1.0, NAN]] * 2)
  outcome = jnp.array([[1, -1, 0, 0]] * 2)
  mask = jnp.array([[True, True, True, False]] * 2)
  actual = variant(
      lambda *a: pairwise.rao_kupper(*a, tie_factor=5.0)
  )(diff, outcome, mask)
  first, second = 1 / (1 + 5 / np.e), 1 / (1 + 5 * np.e)
  tie = 24 * first * second
  np.testing.assert_allclose(
      [first, second, tie], [0.352187, 0.068533, 0.579279], atol=1e-6
  )
  expected = [-np.log(first), -np.log(second), -np.log(tie), 0]
  np.testing.assert_allclose(actual[0], expected, rtol=1e-5)


@pytest.mark.parametrize("k", [1.0, 1.001, 5.0, 100.0])
def test_rao_kupper_probabilities_sum_to_one(k):
  diff = jnp.linspace(-20, 20, 9)
  log_probs = pairwise.rao_kupper_log_probs(diff, tie_factor=k)
  total = sum(jnp.exp(x) for x in log_probs)
  np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_rao_kupper_without_ties_is_bradley_terry():
  diff = jnp.array([0.9, -0.4, 0.3])
  won = jnp.ones(3, int)
  actual = pairwise.rao_kupper(diff, won, tie_factor=1.0)
  np.testing.assert_allclose(actual, pairwise.pairwise_logistic(diff))
  tie = pairwise.rao_kupper(diff, 0 * won, tie_factor=1.0)
  np.testing.assert_array_equal(tie, jnp.inf)


def test_rao_kupper_gradients():
  outcome = jnp.array([1, -1, 0, 1])
  mask = jnp.array([True, True, True, False])
  diff = jnp.array([0.5, -0.3, 1.2, NAN])

  def total(diff, k):
    return jnp.sum(pairwise.rao_kupper(diff, outcome, mask, tie_factor=k))

  slope, slope_k = variants.grad(total, argnums=(0, 1))(diff, jnp.array(3.0))
  d, log_k = np.array([0.5, -0.3, 1.2]), np.log(3)
  s = lambda x: 1 / (1 + np.exp(-x))
  first, second = s(d - log_k), s(-d - log_k)
  expected = [-(1 - first[0]), 1 - second[1], first[2] - second[2], 0]
  np.testing.assert_allclose(slope, expected, rtol=1e-5)

  def loss(k):  # in float64, for a central difference
    first, second = s(d - np.log(k)), s(-d - np.log(k))
    tie = (k * k - 1) * first * second
    return -np.log(first[0]) - np.log(second[1]) - np.log(tie[2])

  numeric = (loss(3 + 1e-6) - loss(3 - 1e-6)) / 2e-6
  np.testing.assert_allclose(slope_k, numeric, rtol=1e-4)
  at_one = variants.grad(total, argnums=1)(diff, jnp.array(1.0))
  assert np.isfinite(at_one)  # a tie in the batch does not make it NaN


def test_listwise_pairs_exclude_ties():
  rewards = jnp.array([0.5, 2.0, NAN, 1.0])
  mask = jnp.array([True, True, False, True])
  pairs = pairwise.listwise_pairs(rewards, jnp.array([1, 1, 1, 2]), mask)
  assert int(jnp.sum(pairs.valid)) == 2  # not three: the first two are tied
  np.testing.assert_array_equal(np.argwhere(pairs.valid), [[0, 3], [1, 3]])
  np.testing.assert_allclose(pairs.diff[:2, 3], [-0.5, 1.0])


@variants.every
def test_listwise_loss_over_all_pairs(variant):
  random = np.random.default_rng(0)
  rewards, ranks = random.normal(size=(2, 4)), random.integers(0, 3, (2, 4))
  mask = np.array([[1, 1, 1, 1], [1, 1, 0, 1]], bool)

  def loss(*arguments):
    pairs = pairwise.listwise_pairs(*arguments)
    losses = pairwise.pairwise_logistic(pairs.diff, pairs.valid)
    return masking.masked_mean(losses, pairs.valid, (-2, -1))

  hidden = jnp.array(np.where(mask, rewards, np.nan))
  actual = variant(loss)(hidden, jnp.array(ranks), jnp.array(mask))
  for b in range(2):
    found = []
    for i, j in itertools.permutations(np.flatnonzero(mask[b]), 2):
      if ranks[b, i] < ranks[b, j]:
        found.append(reference(rewards[b, i] - rewards[b, j]))
    np.testing.assert_allclose(actual[b], np.mean(found), rtol=1e-5)


def test_a_list_of_ties_has_no_loss_and_no_gradient():
  def loss(rewards):
    pairs = pairwise.listwise_pairs(rewards, jnp.zeros(3, int))
    losses = pairwise.pairwise_logistic(pairs.diff, pairs.valid)
    return masking.masked_mean(losses, pairs.valid)

  value, slope = variants.value_and_grad(loss)(jnp.array([1.0, NAN, 2.0]))
  assert value == 0
  np.testing.assert_array_equal(slope, 0.0)


def test_popular_items_of_a_prompt_beat_unpopular_ones():
  counts = jnp.array([[9.0, 1.0, 4.0, NAN], [2.0, 2.0, 8.0, 0.0]])
  views = jnp.array([[90.0, 2.0, 8.0, NAN], [4.0, 40.0, 0.0, 10.0]])
  mask = jnp.array([[True, True, True, False], [True] * 4])
  find = jax.jit(pairwise.popularity_pairs)
  found = np.argwhere(find(counts, 1.0, 8.0, mask=mask))
  assert found.tolist() == [[0, 0, 1], [1, 2, 3]]
  # .1, .5, .5 and .5, .05, nobody's, 0: who was shown for long is not popular.
  found = np.argwhere(find(counts, 0.1, 0.5, views, mask))
  assert found.tolist() == [[0, 1, 0], [0, 2, 0], [1, 0, 1], [1, 0, 3]]
  with pytest.raises(ValueError, match="popularity_pairs: high must be in"):
    pairwise.popularity_pairs(counts, 2.0, 2.0)


def test_names_bad_arguments(no_jaxtyping):
  diff = jnp.ones(3)
  for name, value in (("target", 1.5), ("beta", 0.0), ("weight", -1.0)):
    with pytest.raises(ValueError, match=f"pairwise_logistic: {name} must"):
      pairwise.pairwise_logistic(diff, **{name: value})
  with pytest.raises(ValueError, match="margin must broadcast to \\(3,\\)"):
    pairwise.pairwise_logistic(diff, margin=jnp.ones(2))
  with pytest.raises(ValueError, match="rao_kupper: tie_factor must be in"):
    pairwise.rao_kupper(diff, jnp.ones(3, int), tie_factor=0.5)
  with pytest.raises(ValueError, match="'ranks': \\(2,\\)"):
    pairwise.listwise_pairs(diff, jnp.ones(2, int))
