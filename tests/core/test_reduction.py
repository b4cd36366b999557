import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from tests import variants

NAN = jnp.nan
# Two answers of one prompt, then a prompt with one valid answer.
LOSSES = jnp.array([
    [[1.0, 1.0, NAN, NAN], [2.0, 2.0, 2.0, 2.0]],
    [[6.0, NAN, NAN, NAN], [NAN, NAN, NAN, NAN]],
])


def up_to(lengths, size):
  return jnp.asarray(np.arange(size) < np.array(lengths)[..., None])


MASK = up_to([[2, 4], [1, 0]], 4)

REDUCERS = {
    "token_mean": reduction.token_mean,
    "sequence_mean": reduction.sequence_mean,
    "sequence_sum_mean": reduction.sequence_sum_mean,
    "fixed_length_mean": functools.partial(
        reduction.fixed_length_mean, length=4
    ),
    "group_mean": reduction.group_mean,
}
# Total and weight by hand for each prompt alone, then for both.
EXPECTED = {
    "token_mean": ([10, 6], [6, 1]),
    "sequence_mean": ([1 + 2, 6], [2, 1]),
    "sequence_sum_mean": ([2 + 8, 6], [2, 1]),
    "fixed_length_mean": ([10, 6], [8, 8]),
    "group_mean": ([10 / 6, 6], [1, 1]),
}


def compiled_value(reducer):
  return jax.jit(lambda x, mask: reducer(x, mask).value)


VALUES = {name: compiled_value(reducer) for name, reducer in REDUCERS.items()}


def test_the_table_above_holds_every_reducer():
  public = inspect.getmembers(reduction, inspect.isfunction)
  here = [f for f, x in public if x.__module__ == reduction.__name__]
  assert sorted(here) == sorted(REDUCERS)


@variants.every
def test_by_hand(variant):
  every = lambda x, m: {k: reduce(x, m) for k, reduce in REDUCERS.items()}
  for name, actual in variant(every)(LOSSES, MASK).items():
    total, weight = EXPECTED[name]
    if variant is not variants.vmapped:  # which maps over the prompts
      total, weight = sum(total), sum(weight)
    np.testing.assert_allclose(actual.total, total, rtol=1e-6)
    np.testing.assert_array_equal(actual.weight, weight)


def test_four_ways_to_average_one_batch():
  losses = jnp.array([[1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
  mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
  value = lambda name: VALUES[name](losses, mask)
  np.testing.assert_allclose(value("token_mean"), 10 / 6, rtol=1e-6)
  np.testing.assert_allclose(value("sequence_sum_mean"), 5.0, rtol=1e-6)
  np.testing.assert_allclose(value("sequence_mean"), 1.5, rtol=1e-6)
  np.testing.assert_allclose(value("fixed_length_mean"), 1.25, rtol=1e-6)


@pytest.mark.parametrize("name", REDUCERS)
@pytest.mark.parametrize("sizes", [(1, 3), (1, 1, 1, 1)])
def test_any_split_gives_the_loss_and_gradient_of_the_whole(name, sizes):
  """Pain 1 (TRL #3231, #2995, #3021, #3187, #7249): losses depended on it.

  Pain 2 (TRL #3716, #4935, #5828): each trainer forgot it anew; here one
  test covers every reducer there is.
  """
  reducer = REDUCERS[name]
  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(size=(4, 2, 6)), jnp.float32)
  mask = up_to([[6, 1], [0, 0], [3, 5], [0, 2]], 6)
  edges = np.cumsum((0,) + sizes)
  parts = [slice(a, b) for a, b in zip(edges[:-1], edges[1:])]

  def whole(x):
    loss = reducer(x**2, mask)
    return loss.value, loss

  def part_of(x, mask):
    loss = reducer(x**2, mask)
    return loss.total, loss

  @jax.jit
  def both(x):
    local = jax.grad(part_of, has_aux=True)
    pieces, losses = zip(*[local(x[part], mask[part]) for part in parts])
    total = functools.reduce(Mean.merge, losses)
    gradient, loss = jax.grad(whole, has_aux=True)(x)
    combined = masking.safe_divide(jnp.concatenate(pieces), total.weight)
    return (total.value, combined), (loss.value, gradient)

  (value, combined), (expected, gradient) = both(x)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(combined, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", REDUCERS)
def test_padding_and_permutation_change_nothing(name):
  losses, mask = np.asarray(LOSSES), np.asarray(MASK)
  before = VALUES[name](losses, mask)
  pad = [(0, 0), (0, 0), (0, 3)]
  longer = VALUES[name](
      np.pad(losses, pad, constant_values=NAN), np.pad(mask, pad)
  )
  np.testing.assert_allclose(longer, before, rtol=1e-6)
  swapped = VALUES[name](losses[:, ::-1], mask[:, ::-1])
  np.testing.assert_allclose(swapped, before, rtol=1e-6)


@pytest.mark.parametrize("name", REDUCERS)
def test_gradient_is_the_weight_of_each_token(name):
  gradient = jax.jit(jax.grad(VALUES[name]))(LOSSES, MASK)
  token, row = np.asarray(MASK, float), np.array([[2, 4], [1, 1]])[..., None]
  expected = {
      "token_mean": token / 7,
      "sequence_mean": token / row / 3,
      "sequence_sum_mean": token / 3,
      "fixed_length_mean": token / 16,
      "group_mean": token / np.array([6, 1])[:, None, None] / 2,
  }
  np.testing.assert_allclose(gradient, expected[name], rtol=1e-6)


@pytest.mark.parametrize("name", REDUCERS)
def test_nothing_valid_weighs_nothing(name):
  """Pain 8 (TRL #3248, NeMo-RL #158): every reducer at weight 0 and 1."""
  nothing = jnp.asarray(np.zeros(MASK.shape, bool))
  loss = lambda x: REDUCERS[name](x, nothing).value
  value, gradient = jax.value_and_grad(loss)(LOSSES)
  np.testing.assert_array_equal(value, 0)
  np.testing.assert_array_equal(gradient, 0)
  one = np.zeros(MASK.shape, bool)
  one[1, 0, 0] = True
  expected = 6 / 16 if name == "fixed_length_mean" else 6
  np.testing.assert_allclose(VALUES[name](LOSSES, one), expected)


@pytest.mark.parametrize("name", REDUCERS)
def test_bfloat16_accumulates_in_float32(name):
  wide = np.arange(1024.0).reshape(2, 2, 256)
  losses = jnp.asarray(wide, jnp.bfloat16)
  actual = jax.jit(REDUCERS[name])(losses, np.ones(wide.shape, bool))
  assert actual.total.dtype == actual.weight.dtype == jnp.float32
  wide = np.asarray(losses, np.float64)
  scale = {"sequence_sum_mean": 256, "fixed_length_mean": 256 / 4}.get(name, 1)
  value = actual.total / actual.weight
  np.testing.assert_allclose(value, wide.mean() * scale, rtol=1e-5)


@pytest.mark.parametrize("name", REDUCERS)
def test_no_tokens_at_all(name):
  empty = jnp.zeros((2, 2, 0))
  np.testing.assert_array_equal(REDUCERS[name](empty, empty > 0).value, 0)


@pytest.mark.parametrize("name", REDUCERS)
def test_a_mask_of_another_shape_is_named(no_jaxtyping, name):
  with pytest.raises(ValueError, match=rf"{name}: .*'losses': .*'mask'"):
    REDUCERS[name](LOSSES, MASK[0])


def test_fixed_length_must_be_positive():
  with pytest.raises(ValueError, match=r"length must be in \[1, inf\], got 0"):
    reduction.fixed_length_mean(LOSSES, MASK, length=0)
