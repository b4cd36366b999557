import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import ranking
from rewardjax.environments import items

SHOP = items.random_shop(
    jax.random.key(0), num_items=6, length=2, vocab_size=3
)


def test_codes_are_distinct_and_rows_are_distributions():
  assert len({tuple(c) for c in np.asarray(SHOP.codes)}) == 6
  assert np.all((SHOP.codes >= 0) & (SHOP.codes < 3))
  np.testing.assert_allclose(jnp.sum(SHOP.transition, 1), 1, rtol=1e-6)
  flat = items.random_shop(
      jax.random.key(0), num_items=9, length=2, vocab_size=3, sharpness=0
  )
  np.testing.assert_allclose(flat.transition, 1 / 9, rtol=1e-6)


def test_histories_follow_the_chain():
  found = np.asarray(
      items.draw_histories(jax.random.key(1), SHOP, num=20_000, length=3)
  )
  pairs = np.zeros((6, 6))
  np.add.at(pairs, (found[:, 1], found[:, 2]), 1)
  shares = pairs / pairs.sum(1, keepdims=True)
  np.testing.assert_allclose(shares, SHOP.transition, atol=0.05)
  first = np.bincount(found[:, 0], minlength=6) / 20_000
  np.testing.assert_allclose(first, 1 / 6, atol=0.015)


def test_items_are_spelt_in_turn():
  row = items.spell(SHOP, jnp.array([[4, 0]]))
  np.testing.assert_array_equal(
      row, [[*SHOP.codes[4], *SHOP.codes[0]]]
  )


def test_best_ndcg_is_that_of_the_best_of_all_rankings():
  shop = items.random_shop(
      jax.random.key(3), num_items=4, length=2, vocab_size=2
  )
  transition = np.asarray(shop.transition, np.float64)
  for k in (1, 3, 9):
    best = np.zeros(4)
    for order in itertools.permutations(range(4)):
      lists = jnp.array([order] * 4)
      gains = ranking.ndcg(lists, jnp.arange(4), k=k)
      best = np.maximum(best, transition @ np.asarray(gains))
    np.testing.assert_allclose(
        items.best_ndcg(shop, k=k), best.mean(), rtol=1e-5
    )


def test_too_few_codes_are_refused():
  with pytest.raises(ValueError, match=r"10 items need more codes than 3 \*\*"):
    items.random_shop(
        jax.random.key(0), num_items=10, length=2, vocab_size=3
    )
