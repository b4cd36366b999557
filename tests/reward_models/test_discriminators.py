import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from rewardjax.reward_models import discriminators, pairwise

# Two policies on three tokens.
POLICIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])


def test_policies_differ_and_all_pairs_are_alike():
  pairs = discriminators.policy_pairs(
      jax.random.key(0), num_policies=3, num_pairs=6000
  )
  assert np.all(pairs.same != pairs.other)
  code = 3 * np.asarray(pairs.same) + np.asarray(pairs.other)
  shares = np.bincount(code, minlength=9).reshape(3, 3) / 6000
  np.testing.assert_allclose(shares[~np.eye(3, dtype=bool)], 1 / 6, atol=0.02)


def outcomes():
  """(reference, chosen, rejected) and their probabilities, by listing."""
  for a, b in ((0, 1), (1, 0)):
    for ref, chosen, rejected in itertools.product(range(3), repeat=3):
      p, q = POLICIES[a], POLICIES[b]
      yield (ref, chosen, rejected), 0.5 * p[ref] * p[chosen] * q[rejected]


INDEX, CHANCE = map(np.array, zip(*outcomes()))


def expected_loss(rewards):
  """Of r[reference, candidate]."""
  ref, chosen, rejected = INDEX.T
  diff = rewards[ref, chosen] - rewards[ref, rejected]
  return CHANCE @ np.logaddexp(0, -diff)


def test_trained_table_ranks_by_the_posterior_of_the_policy():
  fit = scipy.optimize.minimize(
      lambda r: expected_loss(r.reshape(3, 3)) + 1e-6 * r @ r, np.zeros(9)
  )
  rewards = fit.x.reshape(3, 3)
  posterior = POLICIES / POLICIES.sum(0)  # p(policy | reference)
  predicted = posterior.T @ POLICIES / POLICIES.mean(0)
  np.testing.assert_array_equal(
      np.argsort(rewards, -1), np.argsort(predicted, -1)
  )
  assert fit.fun < np.log(2) - 0.03


def test_without_the_reference_nothing_can_be_learned():
  random = np.random.default_rng(0)
  for scale in (0.01, 1.0, 10.0):
    for blind in scale * random.normal(size=(50, 3)):
      assert expected_loss(np.tile(blind, (3, 1))) >= np.log(2) - 1e-12
  assert expected_loss(np.zeros((3, 3))) == pytest.approx(np.log(2))


def test_identical_candidates_cost_log_two():
  loss = pairwise.pairwise_logistic(jnp.zeros(1))
  np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


def test_errors_name_arguments():
  with pytest.raises(ValueError, match="num_policies must be in"):
    discriminators.policy_pairs(
        jax.random.key(0), num_policies=1, num_pairs=3
    )
