import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import off_policy
from tests import variants

off_policy = variants.programs(off_policy)

NAN = jnp.nan
RATIOS = np.array([[4.0, 0.5, 2.0], [0.25, 1.0, 1.0]])
SAMPLER = jnp.array([[-1.0, -2.0, -0.5], [-1.0, NAN, NAN]])
MASK = jnp.array([[True, True, True], [True, False, False]])
TRAINER = jnp.where(MASK, SAMPLER + jnp.log(RATIOS), NAN)
# Products 4 and 1/4; geometric means 4^(1/3) and 1/4.
MEAN = 4 ** (1 / 3)
LEVELS = {
    "token": [[4, 0.5, 2], [0.25, 1, 1]],
    "sequence": [[4, 4, 4], [0.25, 1, 1]],
    "geometric": [[MEAN, MEAN, MEAN], [0.25, 1, 1]],
}


@variants.every
@pytest.mark.parametrize("level", LEVELS)
def test_weights_by_hand(variant, level):
  ratio = np.array(LEVELS[level])
  call = lambda function, **kwargs: variant(
      functools.partial(function, level=level, **kwargs)
  )(TRAINER, SAMPLER, MASK)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
  close(call(off_policy.sampler_ratio), ratio)
  close(call(off_policy.truncated_weights, cap=1.8), np.minimum(ratio, 1.8))
  inside = (ratio >= 0.4) & (ratio <= 2.5)
  close(call(off_policy.within_bounds, low=0.4, high=2.5), inside)
  close(
      call(off_policy.masked_weights, low=0.4, high=2.5),
      np.where(inside, ratio, 0.0),
  )


def test_sequence_weights_are_exact_until_bounded():
  """E over all sequences of the sampler, of weight times reward."""
  sampler, trainer = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
  sequences = np.array(list(itertools.product(range(3), repeat=2)))
  rewards = np.arange(9) ** 2.0
  chance = np.prod(sampler[sequences], -1)
  weigh = functools.partial(
      off_policy.truncated_weights,
      jnp.log(trainer)[sequences],
      jnp.log(sampler)[sequences],
      level="sequence",
  )
  exact = np.sum(np.prod(trainer[sequences], -1) * rewards)
  actual = np.sum(chance * np.asarray(weigh(cap=2.0))[:, 0] * rewards)
  np.testing.assert_allclose(actual, exact, rtol=1e-6)
  bounded = np.sum(chance * np.asarray(weigh(cap=1.2))[:, 0] * rewards)
  assert bounded < exact - 0.1


def test_the_geometric_test_does_not_depend_on_length():
  """A constant gap of 1 % per token: the product explodes, the mean stays."""
  sampler = jnp.zeros((1, 1000))
  trainer = jnp.full((1, 1000), 0.01)
  inside = functools.partial(
      off_policy.within_bounds, trainer, sampler, low=0.5, high=2.0
  )
  assert np.all(inside(level="geometric"))
  assert not np.any(inside(level="sequence"))


def test_agreement_gives_weight_one_and_gap_zero():
  """Pain 11: verl #2996, #6240, #6280 (sampler and trainer drift apart)."""
  for level in LEVELS:
    ratio = off_policy.sampler_ratio(SAMPLER, SAMPLER, MASK, level=level)
    np.testing.assert_array_equal(ratio, 1.0)
  for gap in off_policy.sampler_gap(SAMPLER, SAMPLER, MASK).values():
    assert gap.value == 0.0 and gap.weight == 4


@variants.every
def test_sampler_gap_by_hand(variant):
  if variant is variants.vmapped:
    pytest.skip("Means are sums over what the function sees")
  gap = variant(off_policy.sampler_gap)(TRAINER, SAMPLER, MASK)
  logs = np.abs(np.log([4, 0.5, 2, 0.25]))
  np.testing.assert_allclose(gap["sampler_gap"].value, logs.mean(), rtol=1e-6)
  ratios = np.array([4, 0.5, 2, 0.25])  # trainer / sampler: r - 1 - log r
  expected = np.mean(ratios - 1 - np.log(ratios))
  np.testing.assert_allclose(gap["sampler_kl"].value, expected, rtol=1e-5)


def test_extreme_ratios_stay_finite_and_masked_entries_have_no_gradient():
  far = jnp.array([[500.0, -500.0]])
  ratio = off_policy.sampler_ratio(far, jnp.zeros_like(far))
  np.testing.assert_allclose(ratio, np.exp([[20.0, -20.0]]), rtol=1e-5)
  total = lambda x: jnp.sum(off_policy.sampler_ratio(x, SAMPLER, MASK))
  slope = variants.grad(total)(TRAINER)
  np.testing.assert_allclose(slope, [[4, 0.5, 2], [0.25, 0, 0]], rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="token, sequence, geometric; got 'all'"):
    off_policy.sampler_ratio(TRAINER, SAMPLER, MASK, level="all")
  with pytest.raises(ValueError, match="'sampler_log_probs': \\(2, 2\\)"):
    off_policy.sampler_ratio(TRAINER, SAMPLER[:, :2], MASK)
  with pytest.raises(ValueError, match="cap must be in"):
    off_policy.truncated_weights(TRAINER, SAMPLER, MASK, cap=0.0)
