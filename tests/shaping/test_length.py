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


@variants.every
def test_length_trapezoid_by_hand(variant):
  bounds = dict(rise_start=10, rise_end=20, fall_start=40, fall_end=60)
  call = functools.partial(length.length_trapezoid, **bounds)
  lengths = jnp.array([[0, 10, 15, 20], [40, 45, 60, 1000]])
  expected = [[0, 0, 0.5, 1], [1, 0.75, 0, 0]]
  np.testing.assert_allclose(variant(call)(lengths), expected)


def test_length_trapezoid_per_task_and_with_steps():
  lengths = jnp.array([[0, 4, 5, 6], [0, 4, 5, 6]])
  column = lambda *x: jnp.array(x)[:, None]
  actual = length.length_trapezoid(
      lengths,
      rise_start=column(5.0, 0.0),
      rise_end=column(5.0, 0.0),
      fall_start=column(6.0, 4.0),
      fall_end=column(6.0, 6.0),
  )
  # Row 0 steps up at 5 and down behind 6; row 1 rewards what is short.
  np.testing.assert_allclose(actual, [[0, 0, 1, 1], [1, 1, 0.5, 0]])


def test_length_trapezoid_names_bad_arguments():
  bounds = dict(rise_start=1, rise_end=3, fall_start=2, fall_end=4)
  message = r"length_trapezoid: fall_start must be in \[3, inf\], got 2"
  with pytest.raises(ValueError, match=message):
    length.length_trapezoid(jnp.array([3]), **bounds)


LENGTHS = jnp.array([[100, 200, 50, 150], [100, 200, 50, 150], [9, 9, 9, 9]])
CORRECT = jnp.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]).astype(bool)


@variants.every
def test_group_length_penalty_by_hand(variant):
  pad = lambda x: jnp.concatenate([x, x[:1]])
  penalty = variant(length.group_length_penalty)(pad(LENGTHS), pad(CORRECT))
  # The right answers have 150 tokens on average.
  first = [0, 0, -1 / 3, 0]
  np.testing.assert_allclose(
      penalty, [first, [0] * 4, [0] * 4, first], rtol=1e-6
  )


def test_group_length_penalty_options_and_unknown_verdicts():
  penalty = lambda **options: length.group_length_penalty(
      jnp.array([100, 20, 160]), jnp.array([True, False, False]), **options
  )
  np.testing.assert_allclose(penalty(), [0, -0.4, 0], rtol=1e-6)
  both = penalty(both=True)
  np.testing.assert_allclose(both, [0, -0.4, -0.3], rtol=1e-6)
  tight = penalty(tolerance=0.5, max_penalty=2.0)
  np.testing.assert_allclose(tight, [0, -2, 0], rtol=1e-6)
  mask = jnp.array([False, True, True])
  hidden = length.group_length_penalty(
      jnp.array([100, 20, 160]), jnp.array([True, False, False]), mask
  )
  np.testing.assert_array_equal(hidden, 0)


def test_group_length_penalty_scales_with_its_unit_only():
  a = length.group_length_penalty(LENGTHS, CORRECT)
  b = length.group_length_penalty(10 * LENGTHS, CORRECT)
  np.testing.assert_allclose(a, b, rtol=1e-6)
  with pytest.raises(ValueError, match=r"tolerance must be in \(0"):
    length.group_length_penalty(LENGTHS, CORRECT, tolerance=0.0)


def test_group_length_penalty_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'correct': \(1, 4\)"):
    length.group_length_penalty(LENGTHS, CORRECT[:1])
