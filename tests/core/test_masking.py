import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import masking
from rewardjax.core.masking import Mean
from tests import variants

NAN, INF = jnp.nan, jnp.inf
X = jnp.array([[1.0, 4.0, NAN, 7.0], [INF, NAN, 5.0, -INF]])
MASK = jnp.array([[True, True, False, True], [False, False, True, False]])
NOTHING = jnp.zeros((2, 4), bool)


def by_row(function, **options):
  return lambda x, mask: function(x, mask, -1, **options)


@variants.every
def test_sum_mean_and_variance_by_hand(variant):
  total = variant(by_row(masking.masked_sum))(X, MASK)
  np.testing.assert_allclose(total, [12, 5])
  mean = variant(by_row(masking.masked_mean))(X, MASK)
  np.testing.assert_allclose(mean, [4, 5])
  # Deviations -3, 0, 3; a lone value does not vary.
  biased = variant(by_row(masking.masked_variance))(X, MASK)
  np.testing.assert_allclose(biased, [6, 0])
  unbiased = variant(by_row(masking.masked_variance, ddof=1))(X, MASK)
  np.testing.assert_allclose(unbiased, [9, 0])
  n = variant(by_row(masking.count))(X, MASK)
  np.testing.assert_array_equal(n, [3, 1])


@variants.every
def test_whiten_by_hand(variant):
  actual = variant(by_row(masking.masked_whiten))(X, MASK)
  np.testing.assert_allclose(actual, [[-1, 0, 0, 1], [0, 0, 0, 0]], rtol=1e-6)
  keep_mean = by_row(masking.masked_whiten, shift_mean=False)
  actual = variant(keep_mean)(X, MASK)
  np.testing.assert_allclose(actual, [[3, 4, 0, 5], [0, 0, 5, 0]], rtol=1e-6)


@variants.every
def test_fill_constant_and_divide_by_hand(variant):
  filled = variant(lambda x, m: masking.fill_masked(x, m, -2))(X, MASK)
  np.testing.assert_array_equal(filled, [[1, 4, -2, 7], [-2, -2, 5, -2]])
  constant = variant(by_row(masking.is_constant))(X, MASK)
  np.testing.assert_array_equal(constant, [[False], [True]])
  y = jnp.array([[2.0, 0.0], [0.0, 4.0]])
  ratio = variant(masking.safe_divide)(jnp.ones((2, 2)), y)
  np.testing.assert_array_equal(ratio, [[0.5, 0], [0, 0.25]])


def test_is_constant_looks_at_valid_entries_of_either_sign():
  for value in (-2.0, 2.0):
    x = jnp.array([[value, value, NAN], [value, value, 0.0]])
    mask = jnp.array([[True, True, False], [True, True, True]])
    constant = masking.is_constant(x, mask, -1)
    np.testing.assert_array_equal(constant, [[True], [False]])
    assert not masking.is_constant(x[1], None, -1)


@variants.every
def test_mean_record_by_hand(variant):
  rows = lambda x, m: jax.vmap(Mean.of)(x, m)
  if variant is variants.vmapped:
    rows = Mean.of
  total, weight = variant(rows)(X, MASK)
  np.testing.assert_array_equal(total, [12, 5])
  np.testing.assert_array_equal(weight, [3, 1])


def reduced(x, mask, axis, keepdims):
  """Every reduction, in one function that compiles once."""
  args = (x, mask, axis, keepdims)
  return {
      "count": masking.count(*args),
      "sum": masking.masked_sum(*args),
      "mean": masking.masked_mean(*args),
      "variance": masking.masked_variance(*args, ddof=1),
  }


def reduced_in_numpy(x, mask, axis, keepdims):
  """The same in float64."""
  n = np.sum(mask, axis, keepdims=True)
  total = np.sum(x, axis, where=mask, keepdims=True)
  mean = total / np.maximum(n, 1)
  squares = np.sum((x - mean) ** 2, axis, where=mask, keepdims=True)
  variance = squares / np.maximum(n - 1, 1)
  results = {"count": n, "sum": total, "mean": mean, "variance": variance}
  if keepdims:
    return results
  return {name: np.squeeze(y, axis) for name, y in results.items()}


compiled = jax.jit(reduced, static_argnums=(2, 3))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-2, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_every_axis_agrees_with_float64_numpy(axis, keepdims):
  random = np.random.default_rng(0)
  x = random.normal(size=(2, 3, 4))
  mask = random.random(x.shape) < 0.6
  wild = np.where(mask, x, np.nan).astype(np.float32)
  calls = ((wild, mask), (x.astype(np.float32), None))
  for (given, given_mask), real in zip(calls, (mask, np.ones_like(mask))):
    actual = compiled(given, given_mask, axis, keepdims)
    expected = reduced_in_numpy(x, real, axis, keepdims)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
      assert actual[name].shape == value.shape
      np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-6)


def test_whiten_gives_mean_zero_and_variance_one_on_valid_entries():
  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(size=(5, 3, 4)) * 3 + 7, jnp.float32)
  mask = jnp.asarray(random.random(x.shape) < 0.7)
  whiten = lambda x: masking.masked_whiten(x, mask, (0, 2), epsilon=0.0)
  z = np.asarray(jax.jit(whiten)(x), np.float64)
  moments = reduced_in_numpy(z, np.asarray(mask), (0, 2), False)
  np.testing.assert_allclose(moments["mean"], np.zeros(3), atol=1e-6)
  np.testing.assert_allclose(moments["variance"], np.ones(3), rtol=1e-5)
  assert np.all(z[~np.asarray(mask)] == 0)


def test_whiten_over_all_action_tokens_of_a_batch():
  """Three answers of 3, 4, 2 tokens, with 1, 0, 0 on each of their tokens."""
  mask = jnp.asarray(np.arange(4) < np.array([[3], [4], [2]]))
  x = jnp.asarray(np.repeat([[1.0], [0.0], [0.0]], 4, 1), jnp.float32)
  # mean 1/3; variance (3 * 4/9 + 6 * 1/9) / 8 = 1/4.
  expected = np.where(mask, np.array([[4 / 3], [-2 / 3], [-2 / 3]]), 0)
  whitened = jax.jit(masking.masked_whiten)(x, mask)
  np.testing.assert_allclose(whitened, expected, 1e-6)


def test_gradients_in_closed_form_and_zero_on_masked_nan():
  functions = [
      by_row(masking.masked_sum),
      by_row(masking.masked_mean),
      by_row(masking.masked_variance, ddof=1),
  ]
  weights = jnp.array([2.0, 1.0])
  slope = lambda f: jax.grad(lambda x: weights @ f(x, MASK))
  total, mean, variance = jax.jit(lambda x: [slope(f)(x) for f in functions])(X)
  np.testing.assert_allclose(total, [[2, 2, 0, 2], [0, 0, 1, 0]])
  expected = [[2 / 3, 2 / 3, 0, 2 / 3], [0, 0, 1, 0]]
  np.testing.assert_allclose(mean, expected, rtol=1e-6)
  # 2 (x - mean) / (n - 1), times the weight 2.
  expected = [[-6, 0, 0, 6], [0, 0, 0, 0]]
  np.testing.assert_allclose(variance, expected, rtol=1e-6, atol=1e-6)


def test_gradients_by_finite_differences():
  x = np.array([[1.0, 4.0, 99.0, 7.5], [0.5, 9.0, 5.0, -2.0]])
  mask = jnp.asarray(np.asarray(MASK) | np.array([[False], [True]]) & (x < 1))
  functions = [
      lambda x: masking.masked_whiten(x, mask, -1),
      lambda x: masking.masked_whiten(x, mask, 0, shift_mean=False),
      lambda x: masking.safe_divide(x, x + 3),
      lambda x: masking.safe_divide(jnp.asarray([[2.0] * 4] * 2), x + 3),
  ]
  every = lambda x: jnp.stack([f(x) for f in functions])
  step = 1e-6 * np.eye(8).reshape(8, 2, 4)
  with jax.enable_x64(True):
    slopes = jax.jit(jax.jacrev(every))(x)
    values = jax.device_get(jax.jit(jax.vmap(every))(x + [*step, *-step]))
  expected = (values[:8] - values[8:]) / 2e-6
  expected = np.moveaxis(expected, 0, -1).reshape(slopes.shape)
  np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("epsilon", [0, 0.0, 1e-8])
def test_whiten_gradient_is_finite_where_nothing_varies(epsilon):
  x = jnp.asarray(np.where(MASK, 0.3, NAN), jnp.float32)
  whiten = lambda x: masking.masked_whiten(x, MASK, -1, epsilon=epsilon)
  actual, pull_back = jax.vjp(whiten, x)
  np.testing.assert_array_equal(actual, np.zeros((2, 4)))
  (gradient,) = pull_back(jnp.asarray(np.full((2, 4), 5.0), jnp.float32))
  np.testing.assert_array_equal(gradient, np.zeros((2, 4)))


def test_whiten_takes_a_traced_epsilon():
  whiten = lambda e: masking.masked_whiten(X, MASK, -1, epsilon=e)
  white = np.asarray(jax.jit(whiten)(7.0))
  np.testing.assert_allclose(white[0, 3], 3 / 4, rtol=1e-6)


def test_divide_by_zero_has_zero_value_and_gradient():
  divide = jax.grad(masking.safe_divide, (0, 1))
  gradient = divide(jnp.array(3.0), jnp.zeros(()))
  np.testing.assert_array_equal(gradient, [0, 0])


def test_weight_zero_and_one_give_zero_not_nan():
  """Pain 8 (TRL #3248, NeMo-RL #158): all completions masked gave 0/0."""
  one = np.zeros((2, 4), bool)
  one[:, 1] = True
  x = jnp.asarray(np.where(one, 3.0, NAN), jnp.float32)
  # Eagerly, so that a NaN shows; both masks at once.
  masks = jnp.asarray(np.stack([NOTHING, one]))
  over = lambda f: jax.vmap(lambda mask: f(x, mask))(masks)
  mean, gradient = over(jax.value_and_grad(masking.masked_mean))
  np.testing.assert_array_equal(mean, [0, 3])
  assert np.all(np.isfinite(gradient))
  unbiased = lambda *args: masking.masked_variance(*args, ddof=1)
  np.testing.assert_array_equal(over(unbiased), 0)
  np.testing.assert_array_equal(over(lambda *a: Mean.of(*a).value), [0, 3])
  white = masking.masked_whiten(x, jnp.asarray(one), -1)
  np.testing.assert_array_equal(white, 0.0)


def test_no_rounding_residue_where_all_entries_are_equal():
  """Pain 3 (NeMo-RL #4161, #4158): fp32 std left 1e-4 where truth is 0."""
  both = jax.jit(
      lambda x: (
          masking.masked_variance(x, None, -1, ddof=1),
          masking.masked_whiten(x, None, -1),
      )
  )
  for value in (0.1, 1 / 3, 1e4 + 0.1, -7.3e7):
    variance, white = both(np.full((2, 7), value))
    np.testing.assert_array_equal(variance, [0, 0])
    np.testing.assert_array_equal(white, np.zeros((2, 7)))


def test_variance_keeps_its_digits_far_from_zero():
  x = 4096 + np.arange(64) / 64
  variance = jax.jit(masking.masked_variance)(jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(variance, np.var(x), rtol=1e-5)


def test_bfloat16_accumulates_in_float32():
  x = jnp.asarray(np.arange(512), jnp.bfloat16)
  reference = np.asarray(x, np.float64)
  three = lambda x: (
      masking.masked_mean(x), masking.masked_variance(x), Mean.of(x).total
  )
  for dtype_rule in ("standard", "strict"):
    with jax.numpy_dtype_promotion(dtype_rule):
      mean, variance, total = jax.jit(three)(x)
      assert total.dtype == mean.dtype == jnp.float32
  np.testing.assert_allclose(mean, reference.mean(), rtol=1e-6)
  np.testing.assert_allclose(variance, reference.var(), rtol=1e-5)


def test_float64_stays_float64():
  with jax.enable_x64(True):
    x = np.asarray(X, np.float64)
    whiten = jax.jit(lambda x, mask: masking.masked_whiten(x, mask, -1))
    assert whiten(x, MASK).dtype == np.float64
    assert jax.jit(Mean.of)(x, MASK).weight.dtype == np.float64
    x = 1 + np.arange(4.0) * 1e-12
    actual = jax.jit(masking.masked_variance)(x)
    np.testing.assert_allclose(actual, np.var(x), rtol=1e-9)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_arrays_reduce_to_zero(shape):
  x = np.zeros(shape, np.float32)
  for axis in (None, -1):
    for value in compiled(x, None, axis, False).values():
      np.testing.assert_array_equal(value, 0)
  whitened = jax.jit(lambda x: masking.masked_whiten(x, None, -1))(x)
  assert whitened.shape == shape


def test_means_of_any_split_merge_to_the_whole():
  """Pain 1 (TRL #3231, #7206): 100 tokens at 2.0 and 900 at 0.5 gave 1.25."""

  @jax.jit
  def split(x, mask, cut):
    rows = jnp.arange(x.size)
    parts = [Mean.of(x, mask & side) for side in (rows < cut, rows >= cut)]
    return parts[0].merge(parts[1])

  x = np.where(np.arange(1000) < 100, 2.0, 0.5).astype(np.float32)
  merged = split(x, np.ones(1000, bool), 100)
  np.testing.assert_allclose(merged.value, 0.65, rtol=1e-6)
  flat, mask = np.ravel(X), np.ravel(MASK)
  for cut in (0, 3, 8):
    assert split(flat, mask, cut) == (17, 4)


def test_mean_scale_takes_numbers_and_traced_scalars():
  mean = Mean.of(jnp.array([1.0, 2.0]))
  for factor in (3, 3.0, jnp.asarray(3.0)):
    np.testing.assert_allclose(mean.scale(factor).value, 4.5)
    assert mean.scale(factor).weight == 2


@pytest.mark.parametrize(
    "function",
    [
        masking.masked_sum,
        masking.masked_mean,
        masking.masked_variance,
        masking.masked_whiten,
        masking.is_constant,
    ],
)
def test_a_mask_of_another_shape_is_named(no_jaxtyping, function):
  message = rf"{function.__name__}: .*'x': \(2, 4\), 'mask': \(4,\)"
  with pytest.raises(ValueError, match=message):
    function(X, MASK[0])


def test_mean_names_a_mask_of_another_shape(no_jaxtyping):
  with pytest.raises(ValueError, match=r"Mean.of: .*'mask': \(4,\)"):
    Mean.of(X, MASK[0])


def test_last_valid_by_hand():
  mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
  expected = [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
  np.testing.assert_array_equal(jax.jit(masking.last_valid)(mask), expected)
  empty = jax.jit(masking.last_valid)(np.ones((2, 0), bool))
  assert empty.shape == (2, 0)
