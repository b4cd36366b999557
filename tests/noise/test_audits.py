import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import audits, channels
from rewardjax.types import NoiseRates
from tests import variants

audits = variants.programs(audits)
channels = variants.programs(channels)

NAN = jnp.nan


@variants.pooled
def test_audit_by_hand(variant):
  observed = jnp.array([[1.0, 0.0, 1.0, NAN], [0.0, 0.0, 1.0, 0.0]])
  truth = jnp.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, NAN, 1.0]])
  mask = jnp.array([[True, True, True, False], [True, True, False, True]])
  found = variant(audits.audit)(observed, truth, mask)
  # Wrong samples: 1 of 3 accepted. Right ones: 2 of 3 rejected. Prior 1, 1.
  np.testing.assert_allclose(found.rates, [[2 / 5], [3 / 5]], rtol=1e-6)
  np.testing.assert_array_equal(found.false_negative.count, [3])
  assert found.false_positive.low < 0.4 < found.false_positive.high


@variants.pooled
def test_audit_per_group(variant):
  observed = jnp.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
  truth = jnp.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
  kinds = jnp.array([[0, 0, 0, 0], [1, 1, 1, 1]])
  call = lambda o, t, k: audits.audit(o, t, None, None, k, num_groups=3)
  found = variant(call)(observed, truth, kinds)
  # Kind 2 was never seen: the prior.
  expected = [[2 / 4, 3 / 5, 1 / 2], [2 / 4, 1 / 3, 1 / 2]]
  np.testing.assert_allclose(found.rates, expected, rtol=1e-6)
  np.testing.assert_array_equal(found.false_positive.count, [2, 3, 0])


def _checked():
  """1000 samples at p = .4, rates (.1, .3): half of the rejected and a
  quarter of the accepted ones were checked."""
  cells = {(1, 0): 60, (0, 0): 270, (1, 1): 70, (0, 1): 15}  # truth, observed
  rows = [cell for cell, size in cells.items() for _ in range(size)]
  truth, observed = jnp.asarray(rows, float).T
  return observed, truth


def test_rechecks_need_their_inclusion_weights():
  observed, truth = _checked()
  weights = audits.recheck_weights(
      observed, appeal_fraction=0.5, audit_fraction=0.25
  )
  found = audits.audit(observed, truth, None, weights, alpha=1e-6, beta=1e-6)
  np.testing.assert_allclose(found.rates, [[0.1], [0.3]], rtol=1e-4)
  naive = audits.audit(observed, truth, alpha=1e-6, beta=1e-6)
  np.testing.assert_allclose(naive.rates, [[15 / 285], [60 / 130]], rtol=1e-4)


def test_weighted_counts_are_scaled_to_their_effective_number():
  observed, truth = _checked()
  weights = audits.recheck_weights(
      observed, appeal_fraction=0.5, audit_fraction=0.25
  )
  found = audits.audit(observed, truth, None, weights)
  # Right samples: 60 of weight 2 and 70 of weight 4.
  effective = (60 * 2 + 70 * 4) ** 2 / (60 * 4 + 70 * 16)
  np.testing.assert_allclose(
      found.false_negative.count, [effective], rtol=1e-5
  )
  np.testing.assert_allclose(
      found.false_negative.rate,
      [(0.3 * effective + 1) / (effective + 2)],
      rtol=1e-5,
  )


def test_equal_weights_change_nothing():
  observed, truth = _checked()
  plain = audits.audit(observed, truth)
  weighted = audits.audit(observed, truth, None, jnp.full(truth.shape, 7.0))
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(weighted)):
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_error_counts_of_parts_add_up():
  observed, truth = _checked()
  whole = audits.error_counts(observed, truth)
  parts = [
      audits.error_counts(observed[i::2], truth[i::2]) for i in range(2)
  ]
  total = jax.tree.map(jnp.add, *parts)
  for a, b in zip(jax.tree.leaves(total), jax.tree.leaves(whole)):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_allclose(
      audits.audit_from_counts(total).rates,
      audits.audit(observed, truth).rates,
  )


def test_audit_intervals_cover_through_the_channel():
  """400 audits of 200 samples: the 90 % intervals miss near 10 % of them."""

  @jax.vmap
  def run(key):
    keys = jax.random.split(key)
    truth = jax.random.bernoulli(keys[0], 0.4, (200,)).astype(float)
    observed = channels.flip_binary(keys[1], truth, NoiseRates(0.1, 0.3))
    return audits.audit(observed, truth, level=0.9)

  found = jax.jit(run)(jax.random.split(jax.random.key(0), 400))
  for estimate, rate in zip(found, (0.1, 0.3)):
    covered = (estimate.low <= rate) & (rate <= estimate.high)
    # Four standard errors of a share of 400.
    assert abs(float(jnp.mean(covered)) - 0.9) < 0.06


@pytest.mark.parametrize("judge", [NoiseRates(0.0, 0.0), NoiseRates(0.05, 0.1)])
def test_rates_from_rechecks_undo_the_judge(judge):
  """Weights stand for the exact masses of verdict and judge's answer."""
  p, rates = 0.4, NoiseRates(0.1, 0.3)
  mass = {}
  for truth in (0, 1):
    for verdict in (0, 1):
      wrong = rates[truth]
      share = (p if truth else 1 - p) * (
          wrong if verdict != truth else 1 - wrong
      )
      for answer in (0, 1):
        error = judge[truth]
        cell = share * (error if answer != truth else 1 - error)
        mass[verdict, answer] = mass.get((verdict, answer), 0) + cell
  observed, accepted = jnp.asarray(list(mass), float).T
  weights = jnp.asarray(list(mass.values()))
  # One more sample, to which the judge gave no answer.
  observed, accepted, weights = (
      jnp.append(x, y)
      for x, y in ((observed, 1.0), (accepted, NAN), (weights, NAN))
  )
  mask = jnp.arange(5) < 4
  found = audits.rates_from_rechecks(
      observed, accepted, mask, weights, judge_rates=judge
  )
  np.testing.assert_allclose(found, rates, rtol=1e-5)


def test_rates_from_rechecks_of_nothing():
  zeros = jnp.zeros(4)
  found = audits.rates_from_rechecks(
      zeros,
      zeros,
      jnp.zeros(4, bool),
      zeros,
      judge_rates=NoiseRates(0.05, 0.1),
  )
  np.testing.assert_array_equal(found, [0, 0])


def test_audits_name_what_does_not_fit(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'truth': \(3,\)"):
    audits.audit(jnp.ones(4), jnp.ones(3))
  with pytest.raises(ValueError, match="audit_fraction must be in .0, 1., got"):
    audits.recheck_weights(
        jnp.ones(4), appeal_fraction=0.5, audit_fraction=0.0
    )
  with pytest.raises(ValueError, match=r"rates_from_rechecks.*'weights': \(2"):
    audits.rates_from_rechecks(
        jnp.ones(3),
        jnp.ones(3),
        jnp.ones(3, bool),
        jnp.ones(2),
        judge_rates=NoiseRates(0.0, 0.0),
    )
