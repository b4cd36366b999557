import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import prefix_tree

KEY = jax.random.key(0)


def next_token(key, prefix, length):
  return 1 + jax.random.randint(key, (), 0, 1000)


def test_leaves_share_exactly_the_prefixes_of_their_indices():
  leaves = prefix_tree.prefix_tree(KEY, next_token, depth=3, branch=2)
  assert leaves.shape == (8, 3)
  shared = prefix_tree.shared_length(leaves[:, None], leaves[None])
  # Indices in binary: the length of their common beginning.
  digits = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
  same = digits[:, None] == digits[None]
  expected = np.cumprod(same, -1).sum(-1)
  np.testing.assert_array_equal(shared, expected)


def test_a_step_sees_its_prefix_and_length():
  def counter(key, prefix, length):
    return jnp.sum(prefix) + length + 1

  leaves = prefix_tree.prefix_tree(KEY, counter, depth=3, branch=1)
  np.testing.assert_array_equal(leaves, [[1, 3, 7]])


def test_pairs_are_of_two_leaves_equally_often():
  pairs = np.asarray(prefix_tree.tree_pairs(KEY, 4, num_pairs=12000))
  assert np.all(pairs[:, 0] != pairs[:, 1])
  counts = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
  off = counts.reshape(4, 4)[~np.eye(4, dtype=bool)]
  np.testing.assert_allclose(off, 1000, atol=160)


def test_names_bad_numbers():
  with pytest.raises(ValueError, match="depth must be"):
    prefix_tree.prefix_tree(KEY, next_token, depth=0, branch=2)
  with pytest.raises(ValueError, match="num_leaves must be"):
    prefix_tree.tree_pairs(KEY, 1, num_pairs=1)
