import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import filters
from tests import variants

CHOSEN = jnp.array([10, 20, 21, 5, 0, 9])
REJECTED = jnp.array([10, 10, 10, 50, 0, 3])


@variants.every
def test_long_chosen_answers_are_dropped_by_hand(variant):
  keep = variant(lambda c, r: filters.not_much_longer(c, r, max_ratio=2.0))
  # Equal lengths and exactly twice are kept; short ones always.
  np.testing.assert_array_equal(keep(CHOSEN, REJECTED), [1, 1, 0, 1, 1, 0])


def test_a_small_ratio_keeps_only_shorter_ones():
  keep = filters.not_much_longer(CHOSEN, REJECTED, max_ratio=0.5)
  np.testing.assert_array_equal(keep, [0, 0, 0, 1, 1, 0])


REWARDS = jnp.array([0.3, -1.0, 2.0, -1.0, jnp.nan, 0.5])
MASK = jnp.array([True, True, True, True, False, True])


@pytest.mark.parametrize(
    "share, expected",
    [
        (0.0, [1, 1, 1, 1, 0, 1]),
        (0.2, [1, 0, 1, 1, 0, 1]),  # of the two lowest the first
        (0.4, [1, 0, 1, 0, 0, 1]),
        (0.59, [1, 0, 1, 0, 0, 1]),
        (1.0, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_lowest_rewards_are_dropped(share, expected):
  keep = filters.above_quantile(REWARDS, MASK, share=share)
  np.testing.assert_array_equal(keep, expected)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_whole_numbers_of_rows(share):
  keep = filters.above_quantile(jnp.arange(30.0), share=share)
  assert int(jnp.sum(~keep)) == round(30 * share)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"max_ratio must be in \(0"):
    filters.not_much_longer(CHOSEN, REJECTED, max_ratio=0.0)
  with pytest.raises(ValueError, match=r"'rejected': \(5,\)"):
    filters.not_much_longer(CHOSEN, REJECTED[1:], max_ratio=1.0)
  with pytest.raises(ValueError, match="share must be in"):
    filters.above_quantile(REWARDS, share=1.5)
  with pytest.raises(ValueError, match=r"'mask': \(5,\)"):
    filters.above_quantile(REWARDS, MASK[1:], share=0.5)
