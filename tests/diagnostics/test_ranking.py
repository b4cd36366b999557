import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import ranking
from tests import variants

ranking = variants.programs(ranking)

ITEMS = jnp.array([[5, 3, 8, 3], [1, 2, 3, 4]])
TARGET = jnp.array([3, 9])
MASK = jnp.array([[True, False, True, True], [True] * 4])


@variants.every
def test_by_hand(variant):
  ndcg = variant(ranking.ndcg)(ITEMS, TARGET, k=3)
  np.testing.assert_allclose(ndcg, [1 / np.log2(3), 0], rtol=1e-6)
  hits = variant(ranking.hit_rate)(ITEMS, TARGET, k=1)
  np.testing.assert_array_equal(hits, [0, 0])
  np.testing.assert_array_equal(ranking.hit_rate(ITEMS, TARGET, k=2), [1, 0])
  np.testing.assert_array_equal(variant(ranking.distinct)(ITEMS), [3, 4])


def test_masked_entries_are_no_items():
  ndcg = ranking.ndcg(ITEMS, TARGET, MASK, k=4)
  np.testing.assert_allclose(ndcg, [1 / np.log2(5), 0], rtol=1e-6)
  np.testing.assert_array_equal(ranking.distinct(ITEMS, MASK), [3, 4])
  none = jnp.zeros(ITEMS.shape, bool)
  np.testing.assert_array_equal(ranking.distinct(ITEMS, none), 0)
  np.testing.assert_array_equal(ranking.hit_rate(ITEMS, TARGET, none, k=4), 0)


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="k must be in"):
    ranking.ndcg(ITEMS, TARGET, k=0)
  with pytest.raises(ValueError, match=r"'target': \(3,\)"):
    ranking.hit_rate(ITEMS, jnp.zeros(3, int), k=1)
