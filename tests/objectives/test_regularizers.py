import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.advantages import temporal
from rewardjax.core import divergences
from rewardjax.objectives import policy_gradient, regularizers
from tests import variants

temporal = variants.programs(temporal)
divergences = variants.programs(divergences)
policy_gradient = variants.programs(policy_gradient)
regularizers = variants.programs(regularizers)

NAN = jnp.nan
ESTIMATORS = get_args(regularizers.KlEstimator)
# Three symbols: the policy, the reference and another sampler.
LOGITS = jnp.log(jnp.array([0.5, 0.3, 0.2]))
REFERENCE = jnp.log(jnp.array([0.4, 0.4, 0.2]))
SAMPLER = jnp.log(jnp.array([0.25, 0.35, 0.4]))


def _kl(p_logits, q_logits):
  return divergences.categorical_kl(p_logits, q_logits)


def _expected_gradient(estimator, sampler, weighted):
  """Gradient with respect to logits, summed over the three symbols."""

  def loss(logits):
    log_probs = jax.nn.log_softmax(logits)
    ratio = policy_gradient.token_ratio(log_probs, sampler)
    losses = regularizers.kl_loss(
        log_probs,
        REFERENCE,
        estimator=estimator,
        ratio=ratio if weighted else None,
    )
    return jnp.vdot(jax.nn.softmax(sampler), losses)

  return variants.value_and_grad(loss)(LOGITS)


KL_P_Q = (0.098938, -0.093885, -0.005053)
KL_Q_P = (0.1, -0.1, 0.0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_on_policy_gradient_of_each_estimator(estimator):
  """Pain 9: open-instruct #534, verl #2953, TRL #4967, OpenRLHF #1101.

  k1 as a loss goes nowhere, k3 descends the other KL.
  """
  value, gradient = _expected_gradient(estimator, LOGITS, weighted=False)
  expected = {"k1": (0, 0, 0), "k3": KL_Q_P}.get(estimator, KL_P_Q)
  np.testing.assert_allclose(gradient, expected, atol=1e-6)
  exact = variants.grad(_kl)(LOGITS, REFERENCE)
  np.testing.assert_allclose(exact, KL_P_Q, atol=1e-6)
  other = variants.grad(_kl, argnums=1)(REFERENCE, LOGITS)
  np.testing.assert_allclose(other, KL_Q_P, atol=1e-6)
  expected = 0.0248624 if estimator == "k2" else 0.0252672
  np.testing.assert_allclose(value, expected, atol=1e-7)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_off_policy_gradient_of_each_estimator(estimator):
  """Pain 9: the same table for samples of another policy."""
  _, gradient = _expected_gradient(estimator, SAMPLER, weighted=False)
  scores = jnp.eye(3) - jax.nn.softmax(LOGITS)[None]  # d log p_i / d logits
  mu = jax.nn.softmax(SAMPLER)
  if estimator == "k1":
    expected = -variants.grad(_kl, argnums=1)(SAMPLER, LOGITS)
  elif estimator == "k3":
    expected = (mu * (1 - jnp.exp(REFERENCE - LOGITS))) @ scores
  else:
    expected = (mu * (LOGITS - REFERENCE)) @ scores
    half_square = lambda x: jnp.vdot(
        mu, 0.5 * jnp.square(jax.nn.log_softmax(x) - REFERENCE)
    )
    slope = variants.grad(half_square)(LOGITS)
    np.testing.assert_allclose(expected, slope, atol=1e-6)
  np.testing.assert_allclose(gradient, expected, atol=1e-6)
  # None of them is the gradient of the KL that is wanted.
  assert np.max(np.abs(gradient - np.array(KL_P_Q))) > 5e-3


@pytest.mark.parametrize("sampler", [LOGITS, SAMPLER], ids=["on", "off"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_the_ratio_every_estimator_is_right(estimator, sampler):
  value, gradient = _expected_gradient(estimator, sampler, weighted=True)
  np.testing.assert_allclose(gradient, KL_P_Q, atol=1e-6)
  expected = 0.0248624 if estimator == "k2" else 0.0252672
  np.testing.assert_allclose(value, expected, atol=1e-6)


def test_variance_of_the_values():
  p = jax.nn.softmax(LOGITS)
  for estimator, variance in (("k1", 0.0490864), ("k3", 0.0002546)):
    values = regularizers.kl_loss(LOGITS, REFERENCE, estimator=estimator)
    mean = jnp.vdot(p, values)
    actual = jnp.vdot(p, jnp.square(values - mean))
    np.testing.assert_allclose(actual, variance, atol=1e-7)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradient_matches_finite_differences(estimator):
  with jax.enable_x64(True):
    call = lambda lp: regularizers.kl_loss(
        jnp.asarray(lp), jnp.array([-0.3, -1.2]), estimator=estimator
    )
    check_grads(jax.jit(call), (jnp.array([-0.5, -1.0]),), order=1, rtol=1e-6)


@variants.every
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_values_by_hand_and_the_reference_is_held(variant, estimator):
  log_probs = jnp.array([[-1.0, -2.0], [-0.5, -0.1]])
  d = np.array([[0.5, -1.0], [0.0, 0.2]])
  reference = log_probs - jnp.array(d)
  call = lambda lp, ref: regularizers.kl_loss(lp, ref, estimator=estimator)
  expected = {"k1": d, "k2": d**2 / 2, "k3": np.exp(-d) - 1 + d}[estimator[:2]]
  np.testing.assert_allclose(
      variant(call)(log_probs, reference), expected, rtol=1e-5, atol=1e-7
  )
  slope = variants.grad(lambda ref: jnp.sum(call(log_probs, ref)))(reference)
  np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_zero_at_the_reference(estimator):
  """Pain 28: TRL #3194 (KL at step 0 must be exactly 0)."""
  losses = regularizers.kl_loss(LOGITS, LOGITS, estimator=estimator)
  np.testing.assert_array_equal(losses, 0.0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_far_from_the_reference_all_is_finite_and_still_pulls(estimator):
  log_probs = jnp.array([-0.1, -200.0])
  reference = jnp.array([-200.0, -0.1])
  total = lambda x: jnp.sum(
      regularizers.kl_loss(x, reference, estimator=estimator)
  )
  value, slope = variants.value_and_grad(total)(log_probs)
  assert np.isfinite(value) and np.all(np.isfinite(slope))
  assert np.all(slope != 0)


# --- KL in the reward --------------------------------------------------------


def _two_token_policy(params, tokens):
  """log p of each token; the second depends on the first."""
  first = jax.nn.log_softmax(params[0])[tokens[..., 0]]
  second = jax.nn.log_softmax(params[1:])[tokens[..., 0], tokens[..., 1]]
  return jnp.stack([first, second], axis=-1)


def test_k1_in_the_reward_has_the_gradient_of_the_sequence_kl():
  """All nine sequences of two tokens: exact; k2 per token as a loss is not."""
  random = np.random.default_rng(0)
  params = jnp.array(random.normal(size=(4, 3)), jnp.float32)
  reference = _two_token_policy(
      jnp.array(random.normal(size=(4, 3)), jnp.float32),
      tokens := jnp.array(list(itertools.product(range(3), repeat=2))),
  )
  fixed = _two_token_policy(params, tokens)
  chance = jnp.exp(jnp.sum(fixed, -1))

  def sequence_kl(params):
    log_probs = jnp.sum(_two_token_policy(params, tokens), -1)
    return jnp.vdot(jnp.exp(log_probs), log_probs - jnp.sum(reference, -1))

  exact = variants.grad(sequence_kl)(params)
  penalty = regularizers.kl_reward_penalty(fixed, reference, coefficient=0.7)
  for returns in (
      temporal.reward_to_go(penalty),
      jnp.sum(penalty, -1, keepdims=True),
  ):

    def loss(params, returns=returns):
      log_probs = _two_token_policy(params, tokens)
      losses = policy_gradient.score_surrogate(log_probs, returns)
      return jnp.vdot(chance, jnp.sum(losses, -1))

    slope = variants.grad(loss)(params)
    np.testing.assert_allclose(slope, 0.7 * exact, atol=1e-6)

  def token_loss(params):
    losses = regularizers.kl_loss(
        _two_token_policy(params, tokens), reference, estimator="k2"
    )
    return jnp.vdot(chance, jnp.sum(losses, -1))

  per_token = variants.grad(token_loss)(params)
  # Right for the last token, short of the effect of the first on the second.
  np.testing.assert_allclose(per_token[1:], exact[1:], atol=1e-6)
  assert np.max(np.abs(per_token[0] - exact[0])) > 0.05


@variants.every
def test_kl_reward_penalty_by_hand(variant):
  behavior = jnp.array([[-1.0, NAN], [-2.0, -0.5]])
  reference = jnp.array([[-1.5, -1.0], [-1.0, -jnp.inf]])
  mask = jnp.array([[True, False], [True, False]])
  call = lambda *args: regularizers.kl_reward_penalty(*args, coefficient=0.1)
  actual = variant(call)(behavior, reference, mask)
  np.testing.assert_allclose(actual, [[-0.05, 0], [0.1, 0]], atol=1e-7)


# --- the rest ----------------------------------------------------------------


@pytest.mark.parametrize(
    "kl,expected", [(6.0, 1.0), (6.6, 1.01), (100.0, 1.02), (0.0, 0.98)]
)
def test_adaptive_kl_coefficient(kl, expected):
  call = lambda kl: regularizers.adaptive_kl_coefficient(
      1.0, kl, target=6.0, horizon=10_000, num_samples=1000
  )
  np.testing.assert_allclose(call(kl), expected, rtol=1e-6)
  np.testing.assert_allclose(jax.jit(call)(jnp.array(kl)), expected, rtol=1e-6)


def test_adaptive_kl_coefficient_settles_at_the_target():
  """A policy whose KL is 1 / coefficient meets the target."""
  coefficient = jnp.array(1.0)
  for _ in range(600):
    coefficient = regularizers.adaptive_kl_coefficient(
        coefficient, 1 / coefficient, target=4.0, horizon=10, num_samples=1
    )
  np.testing.assert_allclose(1 / coefficient, 4.0, rtol=1e-2)


def test_entropy_bonus_and_its_sampled_impostor():
  """- log p of a sample has the value of the entropy, not its gradient."""
  p = jax.nn.softmax(LOGITS)

  def exact(logits):
    entropy = -jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits))
    return regularizers.entropy_bonus(entropy, coefficient=0.5)

  np.testing.assert_allclose(exact(LOGITS), -0.5 * -jnp.vdot(p, LOGITS))
  assert np.max(np.abs(variants.grad(exact)(LOGITS))) > 0.05
  sampled = lambda logits: jnp.vdot(
      p,
      regularizers.entropy_bonus(-jax.nn.log_softmax(logits), coefficient=0.5),
  )
  np.testing.assert_allclose(sampled(LOGITS), exact(LOGITS), rtol=1e-6)
  np.testing.assert_allclose(variants.grad(sampled)(LOGITS), 0.0, atol=1e-7)


BAND = dict(low=0.2, high=0.5, coefficient=10.0)


@variants.every
def test_entropy_band_by_hand(variant):
  entropies = jnp.array([[0.0, 0.2, NAN], [0.8, NAN, NAN], [0.3, 0.5, 0.4]])
  mask = jnp.array([[True] * 2 + [False], [True] + [False] * 2, [True] * 3])
  entropies = jnp.concatenate([entropies, jnp.full((1, 3), NAN)])
  mask = jnp.concatenate([mask, jnp.zeros((1, 3), bool)])
  band = lambda h, m: regularizers.entropy_band(h, m, **BAND)
  actual = variant(band)(entropies, mask)
  # Means 0.1 and 0.8 miss the band by 0.1 and 0.3; 0.4 lies inside.
  np.testing.assert_allclose(actual, [0.1, 0.9, 0, 0], rtol=1e-5)


def test_entropy_band_gradient_and_one_row_for_a_batch():
  entropies = jnp.array([[0.0, 0.2, NAN], [0.6, 0.8, 0.7]])
  mask = jnp.array([[True, True, False], [True, True, True]])
  band = lambda h: regularizers.entropy_band(h, mask, **BAND)
  slope = variants.grad(lambda h: jnp.sum(band(h)))(entropies)
  # -2 c (low - mean) / n and 2 c (mean - high) / n.
  expected = [[-1.0, -1.0, 0.0], [4 / 3] * 3]
  np.testing.assert_allclose(slope, expected, rtol=1e-5)
  whole = regularizers.entropy_band(
      entropies.reshape(1, -1), mask.reshape(1, -1), **BAND
  )
  np.testing.assert_array_equal(whole, [0.0])  # the mean of all is 0.46
  wide = regularizers.entropy_band(entropies.astype(jnp.bfloat16), mask, **BAND)
  assert wide.dtype == jnp.float32


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"high must be in \[0.5, inf\], got 0"):
    regularizers.entropy_band(LOGITS, low=0.5, high=0.4, coefficient=1.0)
  with pytest.raises(ValueError, match="entropy_band: coefficient must be in"):
    regularizers.entropy_band(LOGITS, low=0, high=1, coefficient=-1.0)
  with pytest.raises(ValueError, match="k1, k2, k3, k1_straight_through, k3_s"):
    regularizers.kl_loss(LOGITS, REFERENCE, estimator="kl")
  with pytest.raises(ValueError, match="'reference_log_probs': \\(2,\\)"):
    regularizers.kl_loss(LOGITS, REFERENCE[:2], estimator="k3")
  with pytest.raises(ValueError, match="kl_loss: ratio must broadcast"):
    regularizers.kl_loss(LOGITS, REFERENCE, estimator="k3", ratio=jnp.ones(2))
  with pytest.raises(ValueError, match="target must be in"):
    regularizers.adaptive_kl_coefficient(
        1.0, 1.0, target=0.0, horizon=1, num_samples=1
    )
  with pytest.raises(ValueError, match="kl_reward_penalty: .*'mask': \\(2,\\)"):
    regularizers.kl_reward_penalty(
        LOGITS, REFERENCE, jnp.ones(2, bool), coefficient=1.0
    )
