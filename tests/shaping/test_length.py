import functools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.shaping import length
from tests import variants


@variants.every
def test_overlong_penalty_by_hand(variant):
  call = functools.partial(length.overlong_penalty, max_length=20, buffer=4)
  lengths = jnp.array([[0, 16, 17, 18], [19, 20, 21, 100]])
  expected = [[0, 0, -0.25, -0.5], [-0.75, -1, -1, -1]]
  np.testing.assert_allclose(variant(call)(lengths), expected)


def test_overlong_penalty_scales_and_can_be_switched_off():
  lengths = jnp.array([18, 20])
  call = functools.partial(
      length.overlong_penalty, lengths, max_length=20, buffer=4
  )
  np.testing.assert_allclose(call(factor=2.0), [-1.0, -2.0])
  np.testing.assert_array_equal(call(factor=0.0), 0.0)


@variants.every
def test_missing_stop_penalty(variant):
  call = functools.partial(length.missing_stop_penalty, penalty=0.5)
  actual = variant(call)(jnp.array([[True], [False]]))
  np.testing.assert_allclose(actual, [[-0.5], [0.0]])


@pytest.mark.parametrize("buffer", [0, 21])
def test_overlong_penalty_names_bad_arguments(buffer):
  with pytest.raises(ValueError, match="overlong_penalty: buffer must be in"):
    length.overlong_penalty(jnp.array([3]), max_length=20, buffer=buffer)
