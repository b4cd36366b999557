import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.advantages import group
from rewardjax.noise import appeals, corrections
from rewardjax.types import NoiseRates
from tests import variants
from tests.noise import exact

group = variants.programs(group)
appeals = variants.programs(appeals)
corrections = variants.programs(corrections)

NAN = jnp.nan
OBSERVED = jnp.array([[0.0, 1.0, NAN, 1.0], [1.0, 0.0, 0.0, 1.0]])
RATES = NoiseRates(jnp.array([[0.1], [0.3]]), jnp.array([[0.2], [0.2]]))
WEIGHTS = {
    "backward": corrections.backward_reward,
    "forward": corrections.forward_weight,
    "mirror": corrections.forward_weight_from_false_positive,
}


@variants.every
def test_backward_reward_by_hand(variant):
  actual = variant(corrections.backward_reward)(OBSERVED, RATES)
  # J = .7 and .5; an unknown verdict stays unknown.
  expected = [[-1 / 7, 9 / 7, NAN, 9 / 7], [1.4, -0.6, -0.6, 1.4]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@variants.every
def test_forward_weight_by_hand(variant):
  actual = variant(corrections.forward_weight)(OBSERVED, RATES)
  expected = [[-0.8, 0.2, NAN, 0.2], [0.2, -0.8, -0.8, 0.2]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@variants.every
def test_forward_weight_from_false_positive_by_hand(variant):
  mirror = corrections.forward_weight_from_false_positive
  actual = variant(mirror)(OBSERVED, RATES)
  expected = [[-0.1, 0.9, NAN, 0.9], [0.7, -0.3, -0.3, 0.7]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@variants.every
def test_youden_and_its_guard_by_hand(variant):
  rates = NoiseRates(
      jnp.array([0.1, 0.48, 0.51, 0.5]), jnp.array([0.2, 0.5, 0.5, 0.5])
  )
  np.testing.assert_allclose(
      variant(corrections.youden)(rates), [0.7, 0.02, -0.01, 0], atol=1e-7
  )
  # The sign is kept, the magnitude floored; the sign of 0 is +.
  guarded = variant(corrections.guarded_youden)(rates, min_youden=0.05)
  np.testing.assert_allclose(guarded, [0.7, 0.05, -0.05, 0.05], rtol=1e-6)


def test_corrections_of_booleans_equal_those_of_numbers():
  verdicts = jnp.array([True, False, True])
  for correct in WEIGHTS.values():
    rates = NoiseRates(0.1, 0.2)
    np.testing.assert_array_equal(
        correct(verdicts, rates), correct(verdicts.astype(float), rates)
    )


def test_corrections_of_bfloat16_are_those_of_float64():
  observed = jnp.array([0.0, 1.0], jnp.bfloat16)
  rates = NoiseRates(0.1, 0.3)
  expected = np.array([[-0.1, 0.9], [-0.42, 0.18], [-0.06, 0.54]]) / 0.6
  for correct, row in zip(WEIGHTS.values(), expected):
    actual = correct(observed, rates)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, row, rtol=1e-6)


@pytest.mark.parametrize("name", WEIGHTS)
def test_gradients_of_corrections(name):
  observed = jnp.array([0.0, 1.0, 1.0])

  def correct(*arguments):  # check_grads moves through NumPy
    observed, *rates = map(jnp.asarray, arguments)
    return WEIGHTS[name](observed, NoiseRates(*rates))

  arguments = (observed, jnp.full(3, 0.1), jnp.full(3, 0.2))
  check_grads(jax.jit(correct), arguments, order=1, atol=1e-2, rtol=1e-2)
  slope = jax.grad(lambda r: jnp.sum(correct(r, *arguments[1:])))(observed)
  expected = 1 / 0.7 if name == "backward" else 1.0
  np.testing.assert_allclose(slope, np.full(3, expected), rtol=1e-6)


def test_unknown_verdict_takes_no_part():
  """Pain 22 (NeMo-RL #431, #2207): a crash is unknown, not a rejection."""

  def loss(observed):
    mask = ~jnp.isnan(observed)
    rewards = corrections.backward_reward(observed, NoiseRates(0.1, 0.2))
    return jnp.sum(jnp.arange(4.0) * group.leave_one_out(rewards, mask))

  value, slopes = jax.value_and_grad(loss)(jnp.array([1.0, 0.0, NAN, 1.0]))
  # The three others alone: advantages .5, -1, .5 with weights 0, 1, 3.
  np.testing.assert_allclose(value, 0.5 / 0.7, rtol=1e-5)
  np.testing.assert_allclose(
      slopes, np.array([-2.0, -0.5, 0, 2.5]) / 0.7, rtol=1e-5
  )


def test_min_youden_only_rescales():
  """|J| / min_youden times the exact correction, sign included."""
  observed = jnp.array([0.0, 1.0])
  for rho0, rho1 in ((0.47, 0.5), (0.52, 0.51)):
    rates = NoiseRates(jnp.array(rho0), jnp.array(rho1))
    exactly = corrections.backward_reward(observed, rates, min_youden=1e-6)
    guarded = corrections.backward_reward(observed, rates, min_youden=0.05)
    shortened = exactly * abs(1 - rho0 - rho1) / 0.05
    np.testing.assert_allclose(guarded, shortened, rtol=1e-4)


def test_backward_variance_by_enumeration():
  p, rates = 0.4, NoiseRates(0.1, 0.2)
  outcomes = np.array([-0.1, 0.9]) / 0.7
  law = np.array([0.6 * 0.9 + 0.4 * 0.2, 0.6 * 0.1 + 0.4 * 0.8])
  expected = law @ outcomes**2 - (law @ outcomes) ** 2
  actual = corrections.backward_variance(p, rates)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  # Clean variance plus the noise within each class.
  parts = 0.24 + (0.4 * 0.2 * 0.8 + 0.6 * 0.1 * 0.9) / 0.49
  np.testing.assert_allclose(actual, parts, rtol=1e-5)


def _overruled_rates(rates, f, judge, g):
  """P(label | truth), summed over verdict, recheck and judge."""
  table = np.zeros((2, 2))
  for truth, verdict, asked, answer in itertools.product((0, 1), repeat=4):
    wrong = (rates.false_positive, rates.false_negative)[truth]
    judged_wrong = (judge.false_positive, judge.false_negative)[truth]
    share = (f, g)[verdict]
    weight = wrong if verdict != truth else 1 - wrong
    weight *= share if asked else 1 - share
    weight *= judged_wrong if answer != truth else 1 - judged_wrong
    label = appeals.overrule(
        jnp.array([float(verdict)]),
        jnp.array([bool(asked)]),
        jnp.array([float(answer)]),
    )
    table[truth, int(label[0])] += weight
  return table[0, 1], table[1, 0]


@pytest.mark.parametrize("g", [0.0, 0.25])
def test_post_appeal_rates_by_enumeration(g):
  rates, judge = NoiseRates(0.1, 0.3), NoiseRates(0.05, 0.2)
  actual = corrections.post_appeal_rates(rates, 0.5, judge, audit_fraction=g)
  expected = _overruled_rates(rates, 0.5, judge, g)
  np.testing.assert_allclose(actual, expected, rtol=1e-12)
  if g == 0:  # closed forms
    np.testing.assert_allclose(
        actual, [0.1 + 0.9 * 0.5 * 0.05, 0.3 * (1 - 0.5 * 0.8)], rtol=1e-12
    )


def test_correcting_overruled_labels_with_old_rates_corrects_twice():
  rates, judge = NoiseRates(0.1, 0.3), NoiseRates(0.05, 0.2)
  rho0, rho1 = _overruled_rates(rates, 0.5, judge, 0.0)
  laws = {0: np.array([1 - rho0, rho0]), 1: np.array([rho1, 1 - rho1])}
  observed = jnp.array([0.0, 1.0])
  after = corrections.post_appeal_rates(rates, 0.5, judge)
  for truth, law in laws.items():
    right = law @ np.asarray(corrections.backward_reward(observed, after))
    twice = law @ np.asarray(corrections.backward_reward(observed, rates))
    np.testing.assert_allclose(right, truth, atol=1e-6)
    assert abs(twice - truth) > 0.03


def test_guard_metrics_by_hand():
  rates = NoiseRates(jnp.array([[0.1], [0.49], [NAN]]), jnp.array([0.2, 0.5]))
  rates = NoiseRates(*jnp.broadcast_arrays(*rates))
  mask = jnp.array([[True, False], [False, True], [False, False]])
  metrics = corrections.guard_metrics(rates, 0.05, mask)
  values = {name: float(mean.value) for name, mean in metrics.items()}
  # J is .7 in one entry and .01 in the other, which is guarded.
  expected = {
      "youden": 0.355,
      "guarded_fraction": 0.5,
      "variance_inflation": (1 / 0.49 + 400) / 2,
  }
  assert values == pytest.approx(expected, rel=1e-5)
  assert float(metrics["youden"].weight) == 2


def test_guard_metrics_of_constants_and_of_nothing():
  rates = NoiseRates(0.1, 0.2)
  for mask, weight in ((None, 1), (jnp.ones((2, 3), bool), 6)):
    metrics = corrections.guard_metrics(rates, 0.05, mask)
    assert float(metrics["youden"].value) == pytest.approx(0.7)
    assert float(metrics["guarded_fraction"].weight) == weight
  nothing = corrections.guard_metrics(rates, 0.05, jnp.zeros((2, 3), bool))
  assert all(float(mean.value) == 0 for mean in nothing.values())


CENTERS = {
    "none": lambda r: r,
    "mean": group.centered,
    "leave_one_out": group.leave_one_out,
}


def _advantages(rewards, center, scale):
  centred = CENTERS[center](rewards)
  if scale == "none":
    return centred
  axis = -1 if scale == "group_std" else None
  std = jnp.std(rewards, axis=axis, ddof=1, keepdims=True)
  return centred / std


RATES_BY_REACH = {
    "batch": NoiseRates(np.full((2, 4), 0.1), np.full((2, 4), 0.2)),
    "group": NoiseRates(
        np.array([[0.1] * 4, [0.3] * 4]), np.array([[0.2] * 4, [0.4] * 4])
    ),
    "sample": NoiseRates(
        np.linspace(0.05, 0.3, 8).reshape(2, 4),
        np.linspace(0.4, 0.1, 8).reshape(2, 4),
    ),
}


@pytest.mark.parametrize("reach", RATES_BY_REACH)
@pytest.mark.parametrize("scale", ["none", "group_std", "batch_std"])
@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("correction", WEIGHTS)
def test_is_no_op_says_what_brute_force_finds(correction, center, scale, reach):
  """Compares corrected and raw advantages in float64."""
  observed = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])

  def difference(observed, rates):
    corrected = WEIGHTS[correction](observed, rates)
    return jnp.max(
        jnp.abs(
            _advantages(corrected, center, scale)
            - _advantages(observed, center, scale)
        )
    )

  found = exact.in_float64(difference, observed, RATES_BY_REACH[reach])
  said, reason = corrections.is_no_op(
      correction,
      center,
      scale,
      reach != "sample",
      constant_over_batch=reach == "batch",
  )
  assert said == (found < 1e-12), reason
  assert reason.endswith(".")


def test_is_no_op_without_a_correction():
  assert corrections.is_no_op("none", "none", "none", False)[0]


def test_check_rates_names_the_fields():
  corrections.check_rates("here", NoiseRates(0.1, 0.2))
  # Arrays pass, whatever they hold.
  corrections.check_rates("here", NoiseRates(jnp.array(0.9), 0.9))
  with pytest.raises(ValueError, match="here: false_negative must be in"):
    corrections.check_rates("here", NoiseRates(0.1, -0.2))
  with pytest.raises(ValueError, match="here: false_positive must be in"):
    corrections.check_rates("here", NoiseRates(float("nan"), 0.2))
  message = r"here: false_positive \+ false_negative must be below 1, got 0.7"
  with pytest.raises(ValueError, match=message):
    corrections.check_rates("here", NoiseRates(0.7, 0.6))
  with pytest.raises(ValueError, match="must be below 1, got 0.5 . 0.5"):
    corrections.check_rates("here", NoiseRates(0.5, 0.5))


@pytest.mark.parametrize("name", WEIGHTS)
def test_corrections_refuse_rates_that_do_not_fit(name, no_jaxtyping):
  observed = jnp.zeros((4, 4))
  with pytest.raises(ValueError, match="must be below 1, got 0.6 . 0.5"):
    WEIGHTS[name](observed, NoiseRates(0.6, 0.5))
  with pytest.raises(ValueError, match="false_negative must broadcast to"):
    WEIGHTS[name](observed, NoiseRates(0.1, jnp.zeros((3, 1))))
  with pytest.raises(ValueError, match="write rates per prompt as"):
    WEIGHTS[name](observed, NoiseRates(0.1, jnp.zeros(4)))


def test_other_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="backward_reward: min_youden must be"):
    corrections.backward_reward(
        jnp.zeros(2), NoiseRates(0.1, 0.2), min_youden=0.0
    )
  with pytest.raises(ValueError, match="appeal_fraction must be in"):
    corrections.post_appeal_rates(
        NoiseRates(0.1, 0.2), 1.5, NoiseRates(0.0, 0.0)
    )
  with pytest.raises(ValueError, match="judge_rates: false_negative must be"):
    corrections.post_appeal_rates(
        NoiseRates(0.1, 0.2), 0.5, NoiseRates(0.0, 2.0)
    )
  with pytest.raises(ValueError, match="is_no_op: center must be one of none"):
    corrections.is_no_op("backward", "middle", "none", True)
