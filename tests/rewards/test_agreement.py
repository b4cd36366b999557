import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards import agreement
from tests import variants


@variants.every
def test_matches_by_hand(variant):
  answers = jnp.array([[3, 5, -1], [-1, -1, 2]])
  labels = jnp.array([3, -1])
  actual = variant(agreement.matches)(answers, labels)
  # No answer never matches, not even no label.
  np.testing.assert_array_equal(actual, [[1, 0, 0], [0, 0, 0]])


def test_twins_of_the_table():
  """(3,3,5,3) and (5,5,3,none): majorities 3 and 5."""
  answers = jnp.array([[[3, 3, 5, 3], [5, 5, 3, -1]]])
  actual = agreement.twin_matches(answers, jnp.array([[3, 5]]))
  np.testing.assert_array_equal(actual, [[[0, 0, 1, 0], [0, 0, 1, 0]]])


def test_equal_views_are_judged_by_their_own_majority():
  answers = jnp.array([[[3, 3, 5], [3, 3, 5]]])
  actual = agreement.twin_matches(answers, jnp.array([[3, 3]]))
  np.testing.assert_array_equal(actual[0, 0], [1, 1, 0])
  np.testing.assert_array_equal(actual[0, 1], [1, 1, 0])


SLOTS = jnp.array([[0, 1, 0, 0, 1], [0, 0, -1, -1, 0]])
VALUES = jnp.array([[4, 7, 5, 5, 7], [1, 2, 1, 2, 1]])
MASK = jnp.array([[True] * 5, [True, True, True, True, False]])


@variants.every
def test_what_is_revised_later_was_wrong(variant):
  actual = variant(agreement.unrevised)(SLOTS, VALUES, MASK)
  # Row 1: steps that set nothing stand, and padding revises nothing.
  np.testing.assert_array_equal(
      actual, [[0, 1, 1, 1, 1], [0, 1, 1, 1, 0]]
  )


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="'labels': \\(3,\\)"):
    agreement.matches(jnp.zeros((2, 4), int), jnp.zeros(3, int))
  with pytest.raises(ValueError, match="unrevised: expected one common"):
    agreement.unrevised(SLOTS, VALUES[:, :2])
