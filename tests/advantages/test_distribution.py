import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import distribution
from rewardjax.core import probability
from rewardjax.policies import laws
from tests import variants

distribution = variants.programs(distribution)

NAN = jnp.nan
LOGITS = jnp.array([1.0, 0.0, -1.0, 0.5])
LOG_PROBS = jnp.array([[-1.0, -2.0, NAN], [-0.5, -3.0, -1.0]])
TEMPERED = jnp.array([[-1.2, -1.5, -jnp.inf], [-0.7, -2.0, -1.0]])
MASK = jnp.array([[True, True, False], [True, True, True]])
POSITIVE = jnp.array([True, False])


def test_the_pull_is_the_warmer_policy_less_the_policy():
  """Sums over the four tokens: E[w grad log pi] = pi_tau - pi, in logits."""
  warm = laws.law_logits(laws.SamplingLaw(1.2), LOGITS)
  plain = laws.law_logits(laws.PLAIN, LOGITS)
  weights = distribution.distribution_advantages(
      jnp.zeros((4, 1)), warm[:, None], plain[:, None], jnp.ones(4, bool),
      weight=1.0,
  )
  score = lambda token: np.eye(LOGITS.size)[token] - jax.nn.softmax(LOGITS)
  pull = sum(jnp.exp(plain[a]) * weights[a, 0] * score(a) for a in range(4))
  expected = [-0.035916, 0.016015, 0.018594, 0.001307]
  np.testing.assert_allclose(pull, expected, atol=1e-6)
  np.testing.assert_allclose(pull, jnp.exp(warm) - jnp.exp(plain), atol=1e-6)
  entropies = probability.entropy(jnp.stack([plain, warm]))
  np.testing.assert_allclose(entropies, [1.19298, 1.24226], atol=1e-5)


@variants.every
def test_distribution_advantages_by_hand(variant):
  mix = functools.partial(distribution.distribution_advantages, weight=0.25)
  advantages = jnp.array([[2.0], [-1.0]])
  actual = variant(mix)(advantages, TEMPERED, LOG_PROBS, POSITIVE, MASK)
  expected = [
      [1.5 + 0.25 * np.exp(-0.2), 1.5 + 0.25 * np.exp(0.5), 0],
      [-0.75, -0.75, -0.75],
  ]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_no_weight_leaves_advantages_alone_and_ratios_are_bounded():
  advantages = jnp.array([[2.0, 1.0, NAN], [3.0, 0.0, -1.0]])
  same = distribution.distribution_advantages(
      advantages, TEMPERED, LOG_PROBS, POSITIVE, MASK, weight=0.0
  )
  np.testing.assert_array_equal(same, jnp.where(MASK, advantages, 0))
  far = distribution.distribution_advantages(
      jnp.zeros((1, 1)), jnp.array([[0.0]]), jnp.array([[-800.0]]),
      jnp.array([True]), weight=1.0,
  )
  np.testing.assert_allclose(far, np.exp([[20.0]]), rtol=1e-6)


def test_gradient_does_not_reach_masked_entries():
  def total(*arrays):
    return jnp.sum(
        distribution.distribution_advantages(
            *arrays, POSITIVE, MASK, weight=0.5
        )
    )

  advantages = jnp.array([[2.0, 1.0, NAN], [3.0, 0.0, -1.0]])
  slopes = variants.grad(total, (0, 1, 2))(advantages, TEMPERED, LOG_PROBS)
  np.testing.assert_array_equal(slopes[0], 0.5 * np.asarray(MASK))
  ratio = 0.5 * np.exp([-0.2, 0.5])
  expected = np.array([[*ratio, 0], [0, 0, 0]])
  np.testing.assert_allclose(slopes[1], expected, rtol=1e-6)
  np.testing.assert_allclose(slopes[2], -expected, rtol=1e-6)


@pytest.mark.parametrize(
    "entropy, share, expected",
    [
        (0.25, 0.5, 0.0),  # at the target
        (0.21, 0.5, 0.08 / 1.08),
        (0.9, 0.5, 0.2 / 1.2),  # capped
        (0.0, 1.0, 0.1 / 1.1),
        (0.0, 0.0, 0.0),  # nobody to pull
    ],
)
def test_exploration_weight_by_hand(entropy, share, expected):
  positive = jnp.array([[True, False], [False, True]])
  positive = {0.5: positive, 1.0: positive | True, 0.0: positive & False}[share]
  weigh = lambda h: distribution.exploration_weight(
      positive, entropy=h, target=0.25
  )
  np.testing.assert_allclose(weigh(entropy), expected, rtol=1e-5)
  np.testing.assert_allclose(jax.jit(weigh)(entropy), expected, rtol=1e-5)


def test_exploration_weight_counts_valid_samples_only():
  weigh = functools.partial(
      distribution.exploration_weight, entropy=0.0, target=1.0, cap=0.5
  )
  positive = jnp.array([True, False, True])
  valid = jnp.array([True, True, False])
  np.testing.assert_allclose(weigh(positive, valid), 1 / 2, rtol=1e-6)
  assert weigh(positive, jnp.zeros(3, bool)) == 0


def test_exploration_temperature():
  choose = lambda h: distribution.exploration_temperature(h, target=0.5)
  for entropy, expected in ((0.4, 1.2), (0.5, 1.2), (0.6, 0.8)):
    np.testing.assert_allclose(choose(entropy), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(choose)(entropy), expected, rtol=1e-6)


def test_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"warm must be in \[1, inf\]"):
    distribution.exploration_temperature(0.1, target=0.5, warm=0.9)
  with pytest.raises(ValueError, match=r"cool must be in \(0, 1\]"):
    distribution.exploration_temperature(0.1, target=0.5, cool=0.0)
  with pytest.raises(ValueError, match="cap must be in"):
    distribution.exploration_weight(POSITIVE, entropy=0, target=0, cap=-1)
  call = functools.partial(
      distribution.distribution_advantages, jnp.zeros((2, 1)), TEMPERED
  )
  with pytest.raises(ValueError, match=r"weight must be in \[0, 1\]"):
    call(LOG_PROBS, POSITIVE, weight=1.5)
  with pytest.raises(ValueError, match=r"'positive': \(3,\), 'samples': \(2,"):
    call(LOG_PROBS, jnp.ones(3, bool), weight=0.5)
