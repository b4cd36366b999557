import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import tries

TRIE = tries.prefix_trie([(1, 2), (1, 3, 0), (2,)], vocab_size=4)


def test_what_is_allowed_by_hand():
  nodes = jnp.array([0, 1, 3, 2, -1])
  # Root: 1 or 2. After 1: 2 or 3. After 1 3: 0. After 1 2, and off: nothing.
  expected = [[0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0] * 4, [0] * 4]
  np.testing.assert_array_equal(tries.allowed(TRIE, nodes), expected)


def test_walking_off_is_for_good():
  node = tries.advance(TRIE, jnp.array([0]), jnp.array([3]))
  np.testing.assert_array_equal(node, [-1])
  node = tries.advance(TRIE, node, jnp.array([1]))
  np.testing.assert_array_equal(node, [-1])


def test_items_are_whole_sequences():
  rows = jnp.array([[1, 2, 0], [1, 3, 0], [2, 0, 0], [1, 3, 1], [1, 0, 0]])
  mask = jnp.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]])
  items = tries.items_of(TRIE, rows, mask.astype(bool))
  np.testing.assert_array_equal(items, [0, 1, 2, -1, -1])
  # Without the mask the padding is read, and is wrong.
  np.testing.assert_array_equal(tries.items_of(TRIE, rows)[:2], [-1, 1])


@pytest.mark.parametrize(
    "sequences, message",
    [
        ([], "sequences must be in"),
        ([()], "sequence 0 is empty"),
        ([(1,), (4,)], "token 4, outside"),
        ([(1, 2), (1, 2)], "sequence 1 repeats sequence 0"),
        ([(1, 2), (1,)], "sequence 1 is the beginning"),
        ([(1,), (1, 2)], "sequence 0 is the beginning"),
    ],
)
def test_errors_name_the_sequence(sequences, message):
  with pytest.raises(ValueError, match=message):
    tries.prefix_trie(sequences, vocab_size=4)
