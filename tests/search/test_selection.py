import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import selection
from tests import variants

NAN = jnp.nan
SCORES = jnp.array([[1.0, 5.0, 5.0, NAN], [NAN, 2.0, 9.0, 3.0]])
MASK = jnp.array([[True, True, True, False], [True, True, False, True]])


@variants.every
def test_by_hand(variant):
  best = variant(selection.best_of_n)(SCORES, MASK)
  np.testing.assert_array_equal(best, [1, 3])


def test_edges():
  none = selection.best_of_n(SCORES, jnp.zeros(SCORES.shape, bool))
  np.testing.assert_array_equal(none, -1)
  low = jnp.array([[5.0, -jnp.inf]])
  assert selection.best_of_n(low, jnp.array([[False, True]])).tolist() == [1]
  assert selection.best_of_n(jnp.zeros((2, 0))).tolist() == [-1, -1]


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'mask': \(2,\)"):
    selection.best_of_n(jnp.ones(3), jnp.ones(2, bool))
