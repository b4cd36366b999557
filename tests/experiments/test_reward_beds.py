"""The worlds of the studies of learned rewards."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import gold, users
from rewardjax.types import NoiseRates

KEY = jax.random.key(0)
TRUTH = gold.gold_model(jax.random.key(1), dim=4)


def test_gold_is_standard_and_reads_its_own_coordinates():
  x = jax.random.normal(KEY, (20000, 4))
  rewards = gold.value(TRUTH, x)
  np.testing.assert_allclose(jnp.mean(rewards), 0, atol=0.06)
  np.testing.assert_allclose(jnp.std(rewards), 1, atol=0.06)
  more = jnp.concatenate([x, 9 * jnp.ones((20000, 1))], -1)
  np.testing.assert_array_equal(gold.value(TRUTH, more), rewards)
  far = jnp.array([[0.0, 3.0, 4.0, 0.0]])
  lost = gold.value(TRUTH, far) - gold.value(TRUTH, far, limit=2.0)
  np.testing.assert_allclose(lost, 1.5, rtol=1e-5)


def test_labels_are_wrong_at_their_rates():
  rates = NoiseRates(0.1, 0.4)
  pairs = gold.compare(KEY, TRUTH, num_pairs=20000, rates=rates, spurious=2.0)
  np.testing.assert_array_equal(pairs.truth, pairs.gap > 0)
  wrong = np.asarray(pairs.label != pairs.truth)
  better = np.asarray(pairs.truth == 1)
  assert abs(wrong[better].mean() - 0.4) < 0.02
  assert abs(wrong[~better].mean() - 0.1) < 0.02
  chosen, rejected = pairs.oriented()
  assert chosen.shape == (20000, 5)
  shift = jnp.mean(chosen[:, -1] - rejected[:, -1])
  np.testing.assert_allclose(shift, 2.0, atol=0.05)
  won = gold.value(TRUTH, chosen) > gold.value(TRUTH, rejected)
  assert abs(float(jnp.mean(won)) - (1 - wrong.mean())) < 1e-6


def test_blunt_labels_and_stretched_candidates():
  pairs = gold.compare(KEY, TRUTH, num_pairs=20000, sharpness=1.0)
  share = jnp.mean(jax.nn.sigmoid(jnp.abs(pairs.gap)))
  right = jnp.mean((pairs.truth > 0.5) == (pairs.gap > 0))
  np.testing.assert_allclose(right, share, atol=0.02)
  x = gold.candidates(KEY, (20000,), dim=16, tail=0.03)
  assert abs(float(jnp.mean(jnp.linalg.norm(x, axis=-1) > 7)) - 0.03) < 0.01


def test_levels_ratings_strengths_and_ties_by_hand():
  rewards = jnp.array([-2.0, -0.2, 0.4, 0.5, 3.0])
  np.testing.assert_array_equal(
      gold.levels(rewards, num_levels=3), [0, 1, 1, 2, 2]
  )
  np.testing.assert_array_equal(
      gold.ratings(KEY, rewards, noise=0.0), [0, 2, 2, 2, 4]
  )
  np.testing.assert_array_equal(
      gold.strengths(KEY, rewards, noise=0.0), [3, 1, 1, 1, 3]
  )
  np.testing.assert_array_equal(
      gold.outcomes(rewards, tie_width=0.3), [-1, 0, 1, 1, 1]
  )
  scores = jnp.array([-1.0, 1.0, 1.0, -1.0, 1.0])
  np.testing.assert_allclose(gold.accuracy(scores, rewards), 0.6)


def test_two_kinds_of_users_differ_on_one_thing_only():
  kinds = users.mixed_kinds(5)
  np.testing.assert_array_equal(kinds, [0, 1, 0, 1, 0])
  x = jnp.array([1.0, 1.0, 0.0])
  worth = users.value(jnp.stack([x, x]), kinds[:2])
  np.testing.assert_allclose(worth, [1.3, -0.7], atol=1e-6)
  made = users.survey(KEY, kinds, num_pairs=4000, dim=3, flip_rate=0.1)
  gap = users.value(made.chosen, kinds[:, None])
  gap -= users.value(made.rejected, kinds[:, None])
  np.testing.assert_allclose(jnp.mean(gap > 0, -1), 0.9, atol=0.03)
