import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import appeals, channels, corrections
from rewardjax.noise.appeals import AppealCounts, AppealState, AuditState
from rewardjax.types import NoiseRates
from tests import variants

appeals = variants.programs(appeals)
channels = variants.programs(channels)
corrections = variants.programs(corrections)

NAN = jnp.nan
OBSERVED = jnp.array([[0.0, 0.0, 1.0, NAN], [0.0, 1.0, 0.0, 0.0]])
UNIFORMS = jnp.array([[0.1, 0.6, 0.1, 0.1], [0.49, 0.1, 0.51, 0.2]])
VALID = jnp.array([[True, True, True, False], [True, True, True, True]])


@variants.every
def test_appeal_mask_by_hand(variant):
  pick = lambda u, o, v: appeals.appeal_mask(u, o, 0.5, v)
  actual = variant(pick)(UNIFORMS, OBSERVED, VALID)
  expected = [[True, False, False, False], [True, False, False, True]]
  np.testing.assert_array_equal(actual, expected)


def test_unknown_verdicts_are_not_appealed():
  """Pain 22 (NeMo-RL #431): a crash is no rejection, even without a mask."""
  nothing = appeals.appeal_mask(UNIFORMS, jnp.full((2, 4), NAN), 1.0)
  np.testing.assert_array_equal(nothing, jnp.zeros((2, 4), bool))


def test_choose_appeals_and_audits_pick_each_at_random():
  observed = jnp.tile(jnp.array([0.0, 1.0]), (20_000, 1))
  for choose, column in (
      (appeals.choose_appeals, 0),
      (appeals.choose_audits, 1),
  ):
    chosen = choose(jax.random.key(0), observed, 0.3)
    assert not np.any(chosen[:, 1 - column])
    error = np.sqrt(0.3 * 0.7 / 20_000)
    assert abs(float(jnp.mean(chosen[:, column])) - 0.3) < 5 * error


@variants.pooled
def test_appeal_counts_by_hand(variant):
  appealed = jnp.array([[True, False, True, True], [True, False, True, False]])
  accepted = jnp.array([[1.0, NAN, 1.0, 1.0], [0.0, NAN, 1.0, NAN]])
  actual = variant(appeals.appeal_counts)(OBSERVED, appealed, accepted, VALID)
  # 5 rejected, 2 accepted; 3 rejected ones appealed, of which 2 accepted. An
  # appeal of an accepted or invalid sample does not count.
  assert tuple(map(float, actual)) == (5, 2, 3, 2)


@variants.pooled
def test_appeal_counts_per_kind(variant):
  appealed = OBSERVED < 0.5
  accepted = jnp.ones((2, 4))
  kinds = jnp.array([[0, 0, 2, 2], [2, 2, 2, 0]])
  call = functools.partial(appeals.appeal_counts, num_kinds=3)
  actual = variant(call)(OBSERVED, appealed, accepted, VALID, kinds)
  expected = [[3, 0, 2], [0, 0, 2], [3, 0, 2], [3, 0, 2]]
  np.testing.assert_array_equal(actual, expected)


def test_counts_of_devices_add_under_psum():
  keys = jax.random.split(jax.random.key(1), 3)
  draw = lambda key: jax.random.bernoulli(key, 0.5, (8, 4))
  arrays = (draw(keys[0]).astype(float), draw(keys[1]), draw(keys[2]))
  whole = appeals.appeal_counts(*arrays)
  split = jax.tree.map(lambda x: x.reshape(4, 2, 4), arrays)
  count = lambda *parts: jax.lax.psum(appeals.appeal_counts(*parts), "data")
  parts = jax.vmap(count, axis_name="data")(*split)
  for a, b in zip(parts, whole):
    np.testing.assert_array_equal(a, jnp.full(4, b))


@variants.every
def test_update_appeals_by_hand(variant):
  state = AppealState(jnp.array([10.0, 10.0]), jnp.array([20.0, 20.0]))
  counts = AppealCounts(
      negatives=jnp.array([60.0, 60.0]),
      positives=jnp.array([40.0, 40.0]),
      appealed=jnp.array([20.0, 0.0]),
      accepted=jnp.array([5.0, 0.0]),
  )
  update = functools.partial(
      appeals.update_appeals, false_positive=0.2, decay=0.5
  )
  actual = variant(update)(state, counts)
  # FN = 60 / 4; TP = (40 - .2 (100 - 15)) / .8. Nothing appealed in the
  # second: its state stays, positives included.
  np.testing.assert_allclose(actual.false_negatives, [20, 10], rtol=1e-6)
  np.testing.assert_allclose(actual.true_positives, [38.75, 20], rtol=1e-6)


def test_true_positives_are_never_negative():
  counts = AppealCounts(*map(jnp.array, (90.0, 10.0, 10.0, 0.0)))
  state = appeals.update_appeals(
      appeals.init_appeals(), counts, false_positive=0.5
  )
  assert tuple(map(float, state)) == (0, 0)
  # A rate that was estimated as 1 leaves the state finite.
  state = appeals.update_appeals(
      appeals.init_appeals(), counts, false_positive=jnp.array(1.0)
  )
  assert np.all(np.isfinite(state))


def test_false_negative_rate_by_hand():
  state = AppealState(jnp.array([0.0, 29.0]), jnp.array([0.0, 69.0]))
  actual = appeals.false_negative_rate(state)
  np.testing.assert_allclose(actual, [0.5, 0.3], rtol=1e-6)
  actual = appeals.false_negative_rate(state, alpha=1.0, beta=4.0)
  np.testing.assert_allclose(actual, [0.2, 30 / 103], rtol=1e-6)
  actual = appeals.false_positive_rate(AuditState(*state))
  np.testing.assert_allclose(actual, [0.5, 0.3], rtol=1e-6)


@pytest.mark.parametrize("rho0,share", [(0.0, 1 / 6), (0.1, 0.1818)])
def test_share_of_right_samples_among_the_rejected(rho0, share):
  """What appeals accept at p = .4, rho1 = .3, by Bayes' rule."""
  rejected = 0.4 * 0.3 + 0.6 * (1 - rho0)
  assert 0.4 * 0.3 / rejected == pytest.approx(share, abs=5e-5)
  counts = AppealCounts(
      *map(jnp.asarray, (rejected, 1 - rejected, 1.0, 0.12 / rejected))
  )
  state = appeals.update_appeals(
      appeals.init_appeals(), counts, false_positive=rho0
  )
  np.testing.assert_allclose(state, [0.12, 0.28], rtol=1e-5)


def test_ignoring_false_positives_is_a_bias():
  """False positives pass for right samples: .12 / .46 instead of .3."""
  counts = AppealCounts(*map(jnp.asarray, (0.66, 0.34, 0.66, 0.12)))
  state = appeals.update_appeals(appeals.init_appeals(), counts)
  missed, found = map(float, state)
  assert missed / (missed + found) == pytest.approx(0.261, abs=5e-4)


def _run(key, *, rates, fraction, judge, told, num_steps=60, decay=0.9):
  """512 samples a step, 40 % of them right."""

  def step(state, key):
    keys = jax.random.split(key, 4)
    truth = jax.random.bernoulli(keys[0], 0.4, (512,)).astype(jnp.float32)
    observed = channels.flip_binary(keys[1], truth, rates)
    appealed = appeals.choose_appeals(keys[2], observed, fraction)
    accepted = channels.flip_binary(keys[3], truth, judge)
    counts = appeals.appeal_counts(observed, appealed, accepted)
    state = appeals.update_appeals(
        state,
        counts,
        false_positive=told,
        judge_rates=judge,
        decay=decay,
    )
    return state, None

  keys = jax.random.split(key, num_steps)
  state, _ = jax.lax.scan(step, appeals.init_appeals(), keys)
  return appeals.false_negative_rate(state)


@jax.jit
def _estimates(keys, numbers):
  """One program for all cases; `numbers` are keywords of `_run`."""
  return jax.vmap(lambda key: _run(key, **numbers))(keys)


def _deviation(fraction, judge):
  """Of the estimate, to first order in the noise of verdicts and appeals.

  Without false positives: n samples a step, a share tau of right ones among
  the rejected, weights .9^k, whose squared sum is 1/19 of their sum squared.
  """
  n, p, rho1 = 512, 0.4, 0.3
  rejected = 1 - p * (1 - rho1)
  tau = p * rho1 / rejected
  j = 1 - sum(judge)
  yes = judge.false_positive + j * tau
  sampling = yes * (1 - yes) / (fraction * j**2) - tau * (1 - tau)
  step = n * p * rho1 * (1 - rho1) + (1 - rho1) ** 2 * n * rejected * sampling
  return np.sqrt(step / 19) / (n * p)


@pytest.mark.parametrize(
    "fraction,judge,expected",
    [
        (0.5, NoiseRates(0.0, 0.0), 0.008),
        (0.1, NoiseRates(0.0, 0.0), 0.018),
        (0.5, NoiseRates(0.05, 0.1), 0.010),
    ],
)
def test_appeals_find_the_false_negative_rate(fraction, judge, expected):
  """rho1 = .3 over 100 runs; the expected deviations are those of 20."""
  numbers = dict(
      rates=NoiseRates(0.0, 0.3), fraction=fraction, judge=judge, told=0.0
  )
  estimates = _estimates(jax.random.split(jax.random.key(2), 100), numbers)
  deviation = _deviation(fraction, judge)
  assert deviation == pytest.approx(expected, rel=0.2)
  assert np.std(estimates) == pytest.approx(deviation, rel=0.2)
  assert abs(np.mean(estimates) - 0.3) < 4 * deviation / np.sqrt(100)


@pytest.mark.parametrize("told,found", [(0.1, 0.3), (0.0, 0.261)])
def test_appeals_with_false_positives(told, found):
  numbers = dict(
      rates=NoiseRates(0.1, 0.3), fraction=0.5, judge=appeals.TRUSTED, told=told
  )
  estimates = _estimates(jax.random.split(jax.random.key(3), 100), numbers)
  assert np.mean(estimates) == pytest.approx(found, abs=0.004)


def test_appeals_that_pick_promising_samples_overstate_the_rate():
  """Half of the rejected are appealed, right ones three times as often."""
  right, wrong = 120.0, 600.0
  picked = (0.9 * right, 0.3 * wrong)
  counts = AppealCounts(
      *map(jnp.asarray, (720.0, 280.0, sum(picked), picked[0]))
  )
  state = appeals.update_appeals(appeals.init_appeals(), counts)
  missed, found = map(float, state)
  assert missed / (missed + found) > 0.48  # it is 120 / 400


def _expected_counts(p, rates, judge):
  """Per sample, when everything is rechecked."""
  rho0, rho1 = rates
  missed, found = p * rho1, p * (1 - rho1)
  passed, caught = (1 - p) * rho0, (1 - p) * (1 - rho0)
  rejected, accepted = missed + caught, found + passed
  j0, j1 = judge
  rescued = missed * (1 - j1) + caught * j0
  dismissed = passed * (1 - j0) + found * j1
  as_counts = lambda *xs: AppealCounts(*map(jnp.asarray, xs))
  return (
      as_counts(rejected, accepted, rejected, rescued),
      as_counts(accepted, rejected, accepted, dismissed),
  )


@pytest.mark.parametrize("judge", [NoiseRates(0.0, 0.0), NoiseRates(0.1, 0.2)])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("rates", [(0.1, 0.3), (0.6, 0.3), (0.05, 0.9)])
def test_appeals_and_audits_together_find_both_rates(p, rates, judge):
  """In one update, knowing neither before."""
  appealed, audited = _expected_counts(p, rates, judge)
  missed, found = appeals.update_appeals(
      appeals.init_appeals(), appealed, audits=audited, judge_rates=judge
  )
  wrong, passed = appeals.update_audits(
      appeals.init_audits(), audited, appeals=appealed, judge_rates=judge
  )
  rho0, rho1 = rates
  truth = [p * rho1, p * (1 - rho1), (1 - p) * rho0, (1 - p) * (1 - rho0)]
  np.testing.assert_allclose(
      [missed, found, wrong, passed], truth, rtol=1e-4, atol=1e-7
  )


def test_rates_estimated_from_each_other_can_be_stuck_far_off():
  """Why `audits` is there: p = .05, rates (.1, .3), started at the prior."""
  appealed, audited = _expected_counts(0.05, (0.1, 0.3), appeals.TRUSTED)
  prior = dict(alpha=1e-3, beta=1e-3)
  rho0 = jnp.array(0.5)
  for _ in range(10):
    state = appeals.update_appeals(
        appeals.init_appeals(), appealed, false_positive=rho0
    )
    rho1 = appeals.false_negative_rate(state, **prior)
    state = appeals.update_audits(
        appeals.init_audits(), audited, false_negative=rho1
    )
    rho0 = appeals.false_positive_rate(state, **prior)
  assert rho0 > 0.2 and rho1 > 0.9


def test_nothing_rejected_is_known_without_appeals():
  """A kind that the verifier always accepts must not keep the prior."""
  counts = AppealCounts(*map(jnp.asarray, (0.0, 40.0, 0.0, 0.0)))
  state = appeals.update_appeals(appeals.init_appeals(), counts)
  assert tuple(map(float, state)) == (0, 40)
  # No sample at all: nothing is added and nothing forgotten.
  nothing = AppealCounts(*[jnp.zeros(())] * 4)
  again = appeals.update_appeals(state, nothing)
  assert tuple(map(float, again)) == (0, 40)


def test_unaudited_batches_leave_the_state():
  """Accepted samples of which none was audited: TP is unknown."""
  appealed = AppealCounts(*map(jnp.asarray, (10.0, 40.0, 5.0, 1.0)))
  audited = AppealCounts(*map(jnp.asarray, (40.0, 10.0, 0.0, 0.0)))
  state = appeals.update_appeals(
      appeals.init_appeals(), appealed, audits=audited
  )
  assert tuple(map(float, state)) == (0, 0)


def test_audits_are_appeals_in_the_mirror():
  """Counts and updates of swapped labels and swapped judge rates."""
  keys = jax.random.split(jax.random.key(4), 3)
  draw = lambda key: jax.random.bernoulli(key, 0.5, (40,)).astype(float)
  observed, accepted = draw(keys[0]), draw(keys[1])
  audited = draw(keys[2]) > 0
  counts = appeals.audit_counts(observed, audited, accepted)
  mirrored = appeals.appeal_counts(1 - observed, audited, 1 - accepted)
  assert tuple(map(float, counts)) == tuple(map(float, mirrored))
  # 60 accepted, 40 rejected; the judge rejects 12 of 30 audited ones.
  counts = AppealCounts(*map(jnp.asarray, (60.0, 40.0, 30.0, 12.0)))
  state = appeals.update_audits(
      appeals.init_audits(),
      counts,
      false_negative=0.2,
      judge_rates=NoiseRates(0.1, 0.2),
  )
  # Truly wrong among accepted: (.4 - .2) / .7, the judge's j1 being the
  # chance that he calls a right one wrong.
  wrong = 60 * 0.2 / 0.7
  expected = [wrong, (40 - 0.2 * (100 - wrong)) / 0.8]
  np.testing.assert_allclose(state, expected, rtol=1e-5)


def test_kinds_keep_their_own_rates():
  """Two kinds of rates .1 and .5: one pooled rate fits neither."""
  truth = jnp.ones(4000)
  kinds = jnp.arange(4000) % 2
  rates = NoiseRates(0.0, jnp.where(kinds == 0, 0.1, 0.5))
  observed = channels.flip_binary(jax.random.key(5), truth, rates)
  everything = jnp.ones(4000, bool)
  counts = appeals.appeal_counts(
      observed, everything, truth, None, kinds, num_kinds=2
  )
  state = appeals.update_appeals(appeals.init_appeals(2), counts)
  actual = appeals.false_negative_rate(state)
  np.testing.assert_allclose(actual, [0.1, 0.5], atol=0.05)
  pooled = appeals.update_appeals(
      appeals.init_appeals(),
      appeals.appeal_counts(observed, everything, truth),
  )
  assert float(appeals.false_negative_rate(pooled)) == pytest.approx(
      0.3, abs=0.04
  )


@variants.every
def test_overrule_by_hand(variant):
  rechecked = jnp.array([[True, False, False, True], [False] * 4])
  accepted = jnp.array([[1.0, NAN, 0.0, 1.0], [NAN] * 4])
  actual = variant(appeals.overrule)(OBSERVED, rechecked, accepted)
  expected = [[1, 0, 1, 1], [0, 1, 0, 0]]
  np.testing.assert_array_equal(actual, expected)


def test_both_uses_estimate_the_truth():
  """A: keep the labels, feed the rate. B: overrule, use post-appeal rates."""
  keys = jax.random.split(jax.random.key(6), 3)
  truth = jnp.repeat(jnp.arange(2.0), 100_000)
  judge, rates = NoiseRates(0.05, 0.1), NoiseRates(0.1, 0.3)
  observed = channels.flip_binary(keys[0], truth, rates)
  appealed = appeals.choose_appeals(keys[1], observed, 0.5)
  accepted = channels.flip_binary(keys[2], truth, judge)
  counts = appeals.appeal_counts(observed, appealed, accepted)
  state = appeals.update_appeals(
      appeals.init_appeals(), counts, false_positive=0.1, judge_rates=judge
  )
  found = NoiseRates(0.1, appeals.false_negative_rate(state))
  kept = corrections.backward_reward(observed, found)
  overruled = corrections.backward_reward(
      appeals.overrule(observed, appealed, accepted),
      corrections.post_appeal_rates(found, 0.5, judge),
  )
  for rewards in (kept, overruled):
    means = jnp.mean(rewards.reshape(2, -1), -1)
    np.testing.assert_allclose(means, [0, 1], atol=0.02)
  assert float(jnp.var(overruled)) < float(jnp.var(kept))


def test_appeals_name_what_does_not_fit(no_jaxtyping):
  ones = jnp.ones(4)
  with pytest.raises(ValueError, match="appeal_mask: fraction must be in"):
    appeals.choose_appeals(jax.random.key(0), ones, 1.5)
  with pytest.raises(ValueError, match=r"appeal_mask.*'valid': \(3,\)"):
    appeals.choose_appeals(jax.random.key(0), ones, 0.5, jnp.ones(3, bool))
  with pytest.raises(ValueError, match="kinds and num_kinds must be given tog"):
    appeals.appeal_counts(ones, ones > 0, ones, num_kinds=2)
  with pytest.raises(ValueError, match="update_appeals: false_positive must"):
    counts = AppealCounts(*map(jnp.asarray, (1.0, 1.0, 1.0, 1.0)))
    appeals.update_appeals(
        appeals.init_appeals(), counts, false_positive=1.0
    )
  with pytest.raises(ValueError, match="false_positive and audits exclude"):
    appeals.update_appeals(
        appeals.init_appeals(), counts, false_positive=0.1, audits=counts
    )
  with pytest.raises(ValueError, match="update_appeals: decay must be in"):
    appeals.update_appeals(appeals.init_appeals(), counts, decay=1.5)
  with pytest.raises(ValueError, match="false_negative_rate: alpha must be"):
    appeals.false_negative_rate(appeals.init_appeals(), alpha=0.0)
  with pytest.raises(ValueError, match=r"overrule.*'accepted': \(2,\)"):
    appeals.overrule(ones, ones > 0, jnp.ones(2))
