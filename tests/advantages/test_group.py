import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.advantages import group
from tests import variants

NAN = jnp.nan  # what must never leak out of a masked entry
REWARDS = jnp.array([[1.0, 5.0, 3.0, NAN], [2.0, NAN, NAN, NAN]])
MASK = jnp.array([[True, True, True, False], [True, False, False, False]])
# Functions of one group; `batch_scaled` sees all of them at once.
PER_GROUP = [
    group.centered,
    group.leave_one_out,
    group.standardized,
    group.bernoulli_standardized,
]
ALL = [*PER_GROUP, group.batch_scaled]
named = lambda functions: pytest.mark.parametrize(
    "function", functions, ids=lambda f: f.__name__
)


@variants.every
@pytest.mark.parametrize(
    "function,row",
    [
        (group.centered, [-2, 2, 0, 0]),
        # The means of the others are (5+3)/2, (1+3)/2, (1+5)/2.
        (group.leave_one_out, [1 - 4, 5 - 2, 3 - 3, 0]),
        # The unbiased variance is (4 + 4 + 0) / 2.
        (group.standardized, [-1, 1, 0, 0]),
        # The mean, 3, is clipped to 5/6: A = (r - 5/6) / sqrt(5/36).
        (
            group.bernoulli_standardized,
            [(r - 5 / 6) / np.sqrt(5 / 36) for r in (1, 5, 3)] + [0],
        ),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_per_group_by_hand(variant, function, row):
  actual = variant(function)(REWARDS, MASK)
  np.testing.assert_allclose(actual, [row, [0] * 4], rtol=2e-6)


# Not vmapped: the std is that of everything the function sees.
@variants.pooled
def test_batch_scaled_by_hand(variant):
  actual = variant(group.batch_scaled)(REWARDS, MASK)
  # Valid rewards 1, 5, 3, 2 about 2.75: 3.0625 + 5.0625 + 0.0625 + 0.5625.
  std = np.sqrt(8.75 / 3)
  expected = [[-2 / std, 2 / std, 0, 0], [0, 0, 0, 0]]
  np.testing.assert_allclose(actual, expected, rtol=2e-6)


def test_batch_scaled_uses_the_std_of_the_batch():
  """Pain 5: TRL #3991 computed group std under scale_rewards="batch"."""
  rewards = jnp.array([[0.0, 1.0, 2.0], [10.0, 30.0, 50.0]])
  r = np.asarray(rewards, np.float64)
  expected = (r - r.mean(-1, keepdims=True)) / (r.std(ddof=1) + 1e-6)
  actual = group.batch_scaled(rewards)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  assert np.max(np.abs(actual - group.standardized(rewards))) > 0.5


@variants.every
def test_constant_baseline_by_hand(variant):
  actual = variant(lambda r, m: group.constant_baseline(r, m, baseline=2.0))(
      REWARDS, MASK
  )
  np.testing.assert_allclose(actual, [[-1, 3, 1, 0], [0, 0, 0, 0]])


def test_constant_baseline_per_prompt():
  actual = group.constant_baseline(
      jnp.ones((2, 3)), baseline=jnp.array([[0.5], [2.0]])
  )
  np.testing.assert_allclose(actual, [[0.5] * 3, [-1.0] * 3])


@pytest.mark.parametrize(
    "rewards,loo,ddof_1,ddof_0,mean",
    [
        (
            (1, 0, 0, 1),
            (0.666667, -0.666667, -0.666667, 0.666667),
            (0.866025, -0.866025, -0.866025, 0.866025),
            (1, -1, -1, 1),
            (0.5, -0.5, -0.5, 0.5),
        ),
        (
            (1, 0, 0, 0),
            (1, -1 / 3, -1 / 3, -1 / 3),
            (1.5, -0.5, -0.5, -0.5),
            (1.732051, -0.577350, -0.577350, -0.577350),
            (0.75, -0.25, -0.25, -0.25),
        ),
        (
            (0.2, 0.4, 0.9, 0.5),
            (-0.4, -0.133333, 0.533333, 0),
            (-1.019049, -0.339683, 1.358732, 0),
            None,
            None,
        ),
    ],
)
def test_numbers_of_the_method_table(rewards, loo, ddof_1, ddof_0, mean):
  rewards = jnp.array(rewards, float)
  close = lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6)
  close(group.leave_one_out(rewards), loo)
  close(group.standardized(rewards, epsilon=0.0), ddof_1)
  if ddof_0 is not None:
    close(group.standardized(rewards, epsilon=0.0, ddof=0), ddof_0)
    close(group.centered(rewards), mean)


def test_standardized_epsilon_of_the_method_table():
  rewards = jnp.array([1.0, 0.0, 0.0, 1.0])
  actual = group.standardized(rewards, epsilon=1e-4)
  np.testing.assert_allclose(jnp.abs(actual), 0.865875, atol=1e-6)


# --- properties --------------------------------------------------------------


def _expected_gradients(estimators, num_samples):
  """Sums over all outcomes of draws from a 3-armed softmax bandit."""
  arm_rewards = np.array([0.0, 1.0, 3.0])
  theta = np.array([0.3, -0.2, 0.1])

  def surrogates(theta, arms):
    log_probs = jax.nn.log_softmax(theta)[arms]
    rewards = jnp.asarray(arm_rewards)[arms]
    held = [jax.lax.stop_gradient(f(rewards)) for f in estimators]
    return jnp.stack([jnp.mean(x * log_probs) for x in held])

  @jax.jit
  def total(outcomes, theta):
    slopes = jax.vmap(jax.jacrev(surrogates), (None, 0))(theta, outcomes)
    probability = jnp.prod(jax.nn.softmax(theta)[outcomes], axis=-1)
    return jnp.tensordot(probability, slopes, 1)

  outcomes = np.array(list(itertools.product(range(3), repeat=num_samples)))
  p = np.exp(theta) / np.sum(np.exp(theta))
  return total(outcomes, theta), p * (arm_rewards - p @ arm_rewards)


@pytest.mark.parametrize("n", [2, 3])
def test_policy_gradient_is_exact_up_to_the_known_factor(n):
  baseline = lambda r: group.constant_baseline(r, baseline=0.7)
  estimators = group.leave_one_out, group.centered, baseline
  actual, exact = _expected_gradients(estimators, n)
  expected = [exact, (n - 1) / n * exact, exact]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@named([group.standardized, group.batch_scaled])
def test_scaled_advantages_ignore_scale_and_offset(function):
  rewards = jnp.array([[0.2, 0.4, 0.9, 0.5], [1.0, 0.0, 0.0, 1.0]])
  actual = function(7.0 * rewards - 3.0, epsilon=0.0)
  np.testing.assert_allclose(actual, function(rewards, epsilon=0.0), atol=2e-5)


@named([group.centered, group.leave_one_out])
def test_unscaled_advantages_scale(function):
  rewards = jnp.array([[0.2, 0.4, 0.9, 0.5]])
  np.testing.assert_allclose(
      function(7.0 * rewards - 3.0), 7.0 * function(rewards), atol=5e-6
  )


@named(ALL)
def test_permuting_samples_permutes_advantages(function):
  rewards = np.array([[0.2, 0.4, 0.9, NAN], [1.0, 0.0, 0.0, 1.0]])
  mask = np.array([[True, True, True, False], [True] * 4])
  order = np.array([2, 3, 0, 1])
  call = lambda *rows: np.asarray(function(*map(jnp.asarray, rows)))
  np.testing.assert_allclose(
      call(rewards[:, order], mask[:, order]),
      call(rewards, mask)[:, order],
      atol=1e-6,
  )


@named(ALL)
def test_an_invalid_sample_is_as_if_it_were_absent(function):
  """Pain 7: TRL #5773, #5775; ms-swift #8123 (NaN), Tunix reads it as 0."""
  inf = jnp.inf
  rewards = np.array([[0.5, NAN, 1.0, 0.0, inf], [1.0, NAN, 0.0, 0.0, NAN]])
  mask = np.isfinite(rewards)
  kept = np.array([0, 2, 3])
  actual = np.asarray(function(*map(jnp.asarray, (rewards, mask))))
  expected = function(jnp.asarray(rewards[:, kept]))
  np.testing.assert_allclose(actual[:, kept], expected, rtol=1e-6)
  np.testing.assert_array_equal(actual[:, [1, 4]], 0.0)


@named([f for f in ALL if f is not group.bernoulli_standardized])
@pytest.mark.parametrize("size", [1, 7, 33])
def test_equal_rewards_give_exactly_zero(function, size):
  """Pain 3: NeMo-RL #4161, #4158 (residue became a 4,000-fold advantage)."""
  values = np.array([[0.1], [1e8], [-3.3e-5], [0.0]], np.float32)
  rewards = np.repeat(values, size, axis=1)
  rewards[3] = np.arange(size)  # one live group
  slope = jax.jit(lambda r: jax.jvp(function, (r,), (jnp.ones_like(r),)))
  advantages, slopes = jax.device_get(slope(rewards))
  np.testing.assert_array_equal(advantages[:3], 0.0)
  assert np.all(np.isfinite(slopes))


@named(ALL)
def test_a_lone_sample_gets_zero(function):
  """Pain 32 and 7: verl gives it its raw reward; DeepAnalyze #116 NaN."""
  np.testing.assert_array_equal(function(jnp.array([[5.0], [3.0]])), 0.0)
  one_valid = np.asarray(function(REWARDS, MASK))[1]
  np.testing.assert_array_equal(one_valid, 0.0)


@named([*ALL, group.constant_baseline])
def test_nothing_valid_gives_zero_and_no_gradient(function):
  """Pain 8: TRL #3248, NeMo-RL #158."""
  rewards = jnp.full((2, 3), NAN)
  mask = jnp.zeros((2, 3), bool)
  total = lambda r: jnp.sum(function(r, mask))
  value, slope = jax.jit(jax.value_and_grad(total))(rewards)
  assert value == 0.0
  np.testing.assert_array_equal(slope, 0.0)


def test_informative_row_survives_leave_one_out():
  """Pain 4: NeMo-RL #3469, #4158 dropped the one 1 of (1, 0, 0, 0)."""
  outcomes = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
  live = group.informative(outcomes)
  np.testing.assert_array_equal(live, [True, False])
  advantages = jnp.where(live[:, None], group.leave_one_out(outcomes), 0.0)
  third = -1 / 3
  expected = [[1, third, third, third], [0, 0, 0, 0]]
  np.testing.assert_allclose(advantages, expected, rtol=1e-6)


@variants.every
def test_informative_is_decided_by_the_outcome(variant):
  """Pain 6: OpenRLHF #1272 (equal fractions), verl-recipe #125 (shaping)."""
  outcomes = jnp.array(
      [
          [0.3, 0.3, 0.3],  # a mean inside (0, 1) says nothing
          [0.0, 0.0, NAN],
          [0.0, 1e-30, 0.0],
          [NAN, 1.0, NAN],
      ]
  )
  mask = ~jnp.isnan(outcomes)
  actual = variant(group.informative)(outcomes, mask)
  np.testing.assert_array_equal(actual, [False, False, True, False])
  # A length penalty would have brought the failures back to life.
  shaped = outcomes - jnp.array([[0.0, 0.1, 0.2]])
  assert group.informative(shaped, mask)[1]


# --- gradients ---------------------------------------------------------------

WEIGHTS = jnp.array([[1.0, -2.0, 0.5, 7.0], [1.0, 1.0, 1.0, 1.0]])


def _slope(function):
  loss = lambda r: jnp.sum(WEIGHTS * function(r, MASK))
  return jax.grad(loss)(REWARDS)


def test_leave_one_out_gradient_ignores_masked_entries():
  # d/dr_i = w_i - (mean of the other valid w's); row 1 has no peers.
  expected = [[1 + 0.75, -2 - 0.75, 0.5 + 0.5, 0], [0, 0, 0, 0]]
  np.testing.assert_allclose(_slope(group.leave_one_out), expected, rtol=1e-6)


def test_centered_gradient_ignores_masked_entries():
  mean = -0.5 / 3
  expected = [[1 - mean, -2 - mean, 0.5 - mean, 0], [0, 0, 0, 0]]
  np.testing.assert_allclose(_slope(group.centered), expected, atol=1e-6)


@named(ALL)
def test_gradient_matches_finite_differences(function):
  rewards = jnp.array([[0.2, 0.45, 0.9, 7.0], [0.9, 0.1, 0.3, 0.2]])
  mask = jnp.array([[True, True, True, False], [True] * 4])
  with jax.enable_x64(True):
    rewards = jnp.asarray(rewards, jnp.float64)
    call = lambda r: function(jnp.asarray(r), mask)
    check_grads(jax.jit(call), (rewards,), order=1, rtol=1e-6)


@named(ALL)
def test_gradient_at_masked_nan_is_zero(function):
  slope = _slope(function)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(np.asarray(slope)[~np.asarray(MASK)], 0.0)


# --- precision and edges -----------------------------------------------------


@named([group.centered, group.leave_one_out, group.standardized])
def test_accumulates_bfloat16_in_float32(function):
  rewards = jnp.arange(512, dtype=jnp.bfloat16)
  r = np.asarray(rewards, np.float64)
  expected = {
      "centered": r - r.mean(),
      "leave_one_out": r - (r.sum() - r) / (r.size - 1),
      "standardized": (r - r.mean()) / r.std(ddof=1),
  }[function.__name__]
  actual = function(rewards)
  assert actual.dtype == jnp.float32
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)


@named([group.centered, group.leave_one_out])
def test_a_large_offset_costs_no_digits(function):
  small = jnp.array([0.0, 1.0, 3.0])
  # 2^23: every integer near it is a float32.
  np.testing.assert_array_equal(function(small + 2.0**23), function(small))


@named([*ALL, group.constant_baseline, group.informative])
def test_names_mismatched_arguments(function, no_jaxtyping):
  with pytest.raises(ValueError, match=r"\(4,\), 'mask': \(3,\)"):
    function(jnp.ones(4), jnp.ones(3, bool))
