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


def test_the_table_above_holds_every_reducer():
  public = inspect.getmembers(reduction, inspect.isfunction)
  here = [f for f, x in public if x.__module__ == reduction.__name__]
  assert sorted(here) == sorted(REDUCERS)


@pytest.mark.parametrize("name", REDUCERS)
@variants.every
def test_by_hand(variant, name):
  reducer = REDUCERS[name]
  total, weight = EXPECTED[name]
  if variant is variants.vmapped:  # one prompt at a time
    actual = variant(reducer)(LOSSES, MASK)
  else:
    actual = variant(reducer)(LOSSES, MASK)
    total, weight = sum(total), sum(weight)
  np.testing.assert_allclose(actual.total, total, rtol=1e-6)
  np.testing.assert_array_equal(actual.weight, weight)


def test_four_ways_to_average_one_batch():
  losses = jnp.array([[1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
  mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
  value = lambda name: REDUCERS[name](losses, mask).value
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
  x = jax.random.normal(jax.random.key(0), (4, 2, 6))
  mask = up_to([[6, 1], [0, 0], [3, 5], [0, 2]], 6)
  whole = reducer(x**2, mask)
  gradient = jax.grad(lambda x: reducer(x**2, mask).value)(x)

  edges = np.cumsum((0,) + sizes)
  parts = [slice(a, b) for a, b in zip(edges[:-1], edges[1:])]
  total = Mean(jnp.zeros(()), jnp.zeros(()))
  pieces = []
  for part in parts:
    total = total.merge(reducer(x[part] ** 2, mask[part]))
    local = lambda x: reducer(x**2, mask[part]).total  # noqa: B023
    pieces.append(jax.grad(local)(x[part]))
  np.testing.assert_allclose(total.value, whole.value, rtol=1e-6)
  combined = masking.safe_divide(jnp.concatenate(pieces), total.weight)
  np.testing.assert_allclose(combined, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", REDUCERS)
def test_padding_and_permutation_change_nothing(name):
  if name == "fixed_length_mean":
    wide = functools.partial(reduction.fixed_length_mean, length=4)
  else:
    wide = REDUCERS[name]
  before = REDUCERS[name](LOSSES, MASK).value
  pad = [(0, 0), (0, 0), (0, 3)]
  longer = wide(
      jnp.pad(LOSSES, pad, constant_values=NAN), jnp.pad(MASK, pad)
  ).value
  np.testing.assert_allclose(longer, before, rtol=1e-6)
  swapped = REDUCERS[name](LOSSES[:, ::-1], MASK[:, ::-1]).value
  np.testing.assert_allclose(swapped, before, rtol=1e-6)


@pytest.mark.parametrize("name", REDUCERS)
def test_gradient_is_the_weight_of_each_token(name):
  gradient = jax.grad(lambda x: REDUCERS[name](x, MASK).value)(LOSSES)
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
  nothing = jnp.zeros_like(MASK)
  loss = lambda x: REDUCERS[name](x, nothing).value
  value, gradient = jax.value_and_grad(loss)(LOSSES)
  np.testing.assert_array_equal(value, 0)
  np.testing.assert_array_equal(gradient, jnp.zeros_like(LOSSES))
  one = nothing.at[1, 0, 0].set(True)
  expected = 6 / 16 if name == "fixed_length_mean" else 6
  np.testing.assert_allclose(REDUCERS[name](LOSSES, one).value, expected)


@pytest.mark.parametrize("name", REDUCERS)
def test_bfloat16_accumulates_in_float32(name):
  losses = jnp.arange(1024, dtype=jnp.bfloat16).reshape(2, 2, 256)
  mask = jnp.ones(losses.shape, bool)
  actual = REDUCERS[name](losses, mask)
  assert actual.total.dtype == actual.weight.dtype == jnp.float32
  wide = np.asarray(losses, np.float64)
  scale = {"sequence_sum_mean": 256, "fixed_length_mean": 256 / 4}.get(name, 1)
  np.testing.assert_allclose(actual.value, wide.mean() * scale, rtol=1e-5)


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
