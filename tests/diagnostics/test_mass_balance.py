import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics.mass_balance import (
    mass_balance,
    sampled_mass_balance,
)
from tests import variants

P = [0.3, 0.1, 0.05, 0.35, 0.15, 0.05]
CORRECT = [True] * 3 + [False] * 3


def exact_change(p, correct, sampled, rate, rewards=(1.0, -1.0)):
  """The step itself in NumPy float64: ascend, renormalise, compare."""
  p, sampled = np.asarray(p, float), np.asarray(sampled, float)
  paid = np.where(correct, *rewards) * sampled
  logits = np.log(p) + rate * p * (paid - np.sum(paid * p))
  q = np.exp(logits) / np.sum(np.exp(logits))
  return np.sum((q - p)[np.asarray(correct)])


def seen(*items, size=6):
  return np.isin(np.arange(size), items)


@pytest.mark.parametrize(
    "items, expected",
    [
        ((0, 3), 0.00104125),
        ((3, 4), 0.00060250),
        (range(6), 0.00121750),
        ((0,), 0.00052500),
    ],
)
def test_first_order_change_by_hand(items, expected):
  sampled = seen(*items)
  balance = mass_balance(
      jnp.array(P), jnp.array(CORRECT), jnp.array(sampled), learning_rate=0.01
  )
  np.testing.assert_allclose(balance.total, expected, atol=5e-9)
  exact = exact_change(P, CORRECT, sampled, 0.01)
  np.testing.assert_allclose(balance.total, exact, rtol=1e-3)
  assert balance.sampled_correct >= 0 and balance.sampled_wrong >= 0


def test_the_exact_update_of_the_first_case():
  actual = exact_change(P, CORRECT, seen(0, 3), 0.01)
  np.testing.assert_allclose(actual, 0.00104140, atol=5e-9)


def test_missed_correct_mass_can_make_the_step_backwards():
  balance = mass_balance(
      jnp.array([0.05, 0.75, 0.2]),
      jnp.array([True, True, False]),
      jnp.array([True, False, False]),
      learning_rate=0.01,
  )
  np.testing.assert_allclose(balance.total, -3.55e-5, rtol=1e-5)
  assert balance.unsampled < 0


def test_every_sample_of_a_small_policy_to_first_order():
  """The derivative of the exact change in the step, for all 2^6 samples."""
  samples = np.array(list(itertools.product([False, True], repeat=6)))
  with jax.enable_x64(True):
    shape = samples.shape
    balance = mass_balance(
        jnp.broadcast_to(jnp.array(P), shape),
        jnp.broadcast_to(jnp.array(CORRECT), shape),
        jnp.array(samples),
        learning_rate=1.0,
        correct_reward=0.7,
        wrong_reward=-0.2,
        num_samples=2,
    )
    total, unsampled = np.asarray(balance.total), np.asarray(balance.unsampled)
  change = lambda row, rate: exact_change(P, CORRECT, row, rate, (0.7, -0.2))
  expected = [(change(x, 5e-5) - change(x, -5e-5)) / 2e-4 for x in samples]
  np.testing.assert_allclose(total, expected, atol=1e-9)
  assert samples[-1].all() and unsampled[-1] == 0


def estimated(drawn, rewards):
  """Q, what was sampled of it and the sum of p^2 not sampled, by kind."""
  p, kinds = np.array(P), np.array(CORRECT)
  counts = {i: drawn.count(i) for i in drawn}
  only = lambda kind: [i for i in drawn if kinds[i] == kind]
  share = {k: len(only(k)) / len(drawn) for k in (True, False)}
  unseen = {
      k: sum(p[i] for i in only(k) if counts[i] == 1) / len(drawn)
      for k in (True, False)
  }
  seen = {k: sum(p[i] ** 2 for i in set(only(k))) for k in (True, False)}
  pull = sum(rewards[not kinds[i]] * p[i] for i in set(drawn))
  return share, seen, unseen, pull


def test_the_balance_from_samples_alone():
  """All draws of three of six items: by sets, and right on average."""
  rewards, draws = (0.7, -0.2), list(itertools.product(range(6), repeat=3))
  chosen = jnp.array(draws)
  found = sampled_mass_balance(
      jnp.log(jnp.array(P))[chosen],
      jnp.array(CORRECT)[chosen],
      chosen,
      learning_rate=0.5,
      correct_reward=rewards[0],
      wrong_reward=rewards[1],
  )
  expected, mean, missed = [], 0.0, 0.0
  for drawn in draws:
    share, seen, unseen, pull = estimated(drawn, rewards)
    left = share[True] * unseen[False] - share[False] * unseen[True]
    expected.append(
        0.5
        * np.array(
            [
                (rewards[0] - pull) * share[False] * seen[True],
                (pull - rewards[1]) * share[True] * seen[False],
                pull * left,
            ]
        )
    )
    chance = np.prod(np.array(P)[list(drawn)])
    mean += chance * share[True]
    missed += chance * unseen[True]
  np.testing.assert_allclose(np.stack(found, -1), expected, atol=1e-6)
  np.testing.assert_allclose(mean, sum(P[:3]))
  after_two = sum(p**2 * (1 - p) ** 2 for p in P[:3])
  np.testing.assert_allclose(missed, after_two)


def test_samples_that_do_not_count_are_not_there():
  log_probs = jnp.log(jnp.array([[0.3, 0.1, 0.3], [0.3, jnp.nan, 0.3]]))
  correct = jnp.array([[True, False, True], [True, True, True]])
  items = jnp.array([[0, 1, 0], [0, 0, 0]])
  mask = jnp.array([[True, True, True], [True, False, True]])
  full = sampled_mass_balance(
      log_probs, correct, items, mask, learning_rate=1.0
  )
  # One item, always right: nothing wrong is left to take from.
  np.testing.assert_array_equal(np.stack(full)[:, 1], 0.0)
  nothing = sampled_mass_balance(
      log_probs, correct, items, jnp.zeros((2, 3), bool), learning_rate=1.0
  )
  np.testing.assert_array_equal(np.stack(nothing), 0.0)


@variants.every
def test_mass_balance_over_a_batch(variant):
  rows = lambda *x: jnp.array([*x])
  balance = variant(
      lambda p, c, s: mass_balance(p, c, s, learning_rate=0.01).total
  )(rows(P, P), rows(CORRECT, CORRECT), rows(seen(0), seen(3, 4)))
  np.testing.assert_allclose(balance, [0.000525, 0.0006025], rtol=1e-5)


def test_mass_balance_edges():
  p, nothing = jnp.array([0.5, 0.5], jnp.bfloat16), jnp.zeros(2, bool)
  balance = mass_balance(p, ~nothing, nothing, learning_rate=1.0)
  np.testing.assert_array_equal(balance, 0)  # no sample moves nothing
  assert balance.total.dtype == jnp.float32
  one_sided = mass_balance(p, nothing, ~nothing, learning_rate=1.0)
  assert one_sided.total == 0  # nothing is correct: Q stays 0


def test_mass_balance_errors(no_jaxtyping):
  ok = jnp.ones(2, bool)
  with pytest.raises(ValueError, match=r"'sampled': \(3,\)"):
    mass_balance(jnp.ones(2), ok, jnp.ones(3, bool), learning_rate=1.0)
  with pytest.raises(ValueError, match=r"num_samples must be in \(0, inf\]"):
    mass_balance(jnp.ones(2), ok, ok, learning_rate=1.0, num_samples=0)
