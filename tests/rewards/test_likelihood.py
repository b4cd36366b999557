import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards import likelihood
from tests import variants

NAN = jnp.nan
# Row 0 is the example of the table; row 1 is half as long.
PROBS = np.array([[0.9, 0.9, 0.01, 0.9], [0.5, 0.25, 1.0, 1.0]])
LOG_PROBS = jnp.array(np.log(PROBS)).at[1, 2:].set(NAN)
MASK = jnp.array([[True] * 4, [True, True, False, False]])
EXPECTED = {
    "log_prob": [math.log(0.00729), math.log(0.125)],
    "mean_log_prob": [math.log(0.292201), math.log(0.125) / 2],
    "prob": [0.00729, 0.125],
    "geometric": [0.292201, math.sqrt(0.125)],
    "mean_prob": [0.6775, 0.375],
}
every_kind = pytest.mark.parametrize("kind", EXPECTED)


@variants.every
@every_kind
def test_likelihoods_of_the_table(variant, kind):
  call = variant(functools.partial(likelihood.answer_likelihood, kind=kind))
  np.testing.assert_allclose(call(LOG_PROBS, MASK), EXPECTED[kind], rtol=3e-6)


@every_kind
def test_gradients_in_closed_form(kind):
  total = lambda x: jnp.sum(likelihood.answer_likelihood(x, MASK, kind=kind))
  slope = jax.grad(total)(LOG_PROBS)
  value, length = np.array(EXPECTED[kind])[:, None], np.array([[4], [2]])
  expected = {
      "log_prob": np.ones((2, 1)),
      "mean_log_prob": 1 / length,
      "prob": value,
      "geometric": value / length,
      "mean_prob": PROBS / length,
  }[kind]
  expected = np.where(MASK, expected, 0.0)
  np.testing.assert_allclose(slope, expected, rtol=1e-5)


@every_kind
def test_an_empty_answer_is_zero_without_a_gradient(kind):
  none = jnp.zeros_like(MASK)
  call = lambda x: likelihood.answer_likelihood(x, none, kind=kind)
  np.testing.assert_array_equal(call(LOG_PROBS), 0.0)
  slope = jax.grad(lambda x: jnp.sum(call(x)))(LOG_PROBS)
  np.testing.assert_array_equal(slope, 0.0)


def test_one_bad_token_costs_a_mean_probability_at_most_its_share():
  base = jnp.log(jnp.full(10, 0.8))
  call = functools.partial(likelihood.answer_likelihood, kind="mean_prob")
  loss = call(base) - call(base.at[3].set(-jnp.inf))
  assert 0 < loss <= 0.1
  # While the others lose everything.
  for kind in ("prob", "geometric"):
    bad = likelihood.answer_likelihood(base.at[3].set(-jnp.inf), kind=kind)
    assert bad == 0.0


def test_likelihood_accumulates_bfloat16_in_float32():
  x = jnp.full(512, -0.01, jnp.bfloat16)
  actual = likelihood.answer_likelihood(x, kind="log_prob")
  assert actual.dtype == jnp.float32
  expected = np.asarray(x, np.float64).sum()
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@variants.every
def test_debiased_by_hand(variant):
  values = jnp.array([[0.6775, 0.3], [0.5, 0.9]])
  actual = variant(likelihood.debiased)(values, jnp.array([[0.4], [0.6]]))
  np.testing.assert_allclose(actual, [[0.2775, 0], [0, 0.3]], atol=1e-6)


def test_the_bound_grows_with_the_group():
  """E[log p] = L_1 <= L_2 <= .. <= log E[p], by listing all groups."""
  chances = np.array([0.2, 0.5, 0.3])
  values = np.array([0.01, 0.3, 0.9])
  bounds = []
  for k in (1, 2, 3, 4):
    chosen = np.array(np.meshgrid(*[range(3)] * k)).reshape(k, -1).T
    weights = np.prod(chances[chosen], -1)
    logs = np.log(values)[chosen].astype(np.float32)
    bound = jax.jit(likelihood.jensen_bound)(logs)
    bounds.append(float(weights @ np.asarray(bound)))
  np.testing.assert_allclose(bounds[0], chances @ np.log(values), rtol=1e-5)
  assert bounds[0] < bounds[1] < bounds[2] < bounds[3]
  assert bounds[3] < math.log(chances @ values)


def test_gradient_of_the_bound_is_the_share_of_each_sample():
  x = jnp.array([-1.0, -2.0, NAN, -0.5])
  mask = ~jnp.isnan(x)
  slope = jax.grad(lambda x: likelihood.jensen_bound(x, mask))(x)
  shares = np.exp([-1.0, -2.0, -0.5])
  shares /= shares.sum()
  np.testing.assert_allclose(slope[mask], shares, rtol=1e-5)
  assert slope[2] == 0.0


@variants.every
def test_what_each_sample_adds_to_the_bound(variant):
  x = np.log([[0.5, 0.1, 0.3], [0.2, 0.4, 0.9], [0.2, 0.4, 0.9],
              [0.1, 0.2, 0.3]])  # fmt: skip
  mask = np.arange(3)[None] < np.array([3, 2, 1, 0])[:, None]
  x = jnp.asarray(np.where(mask, x, NAN), jnp.float32)
  actual = variant(likelihood.jensen_gains)(x, jnp.asarray(mask))
  log = math.log
  np.testing.assert_allclose(
      actual,
      [
          [log(0.3 / 0.2), log(0.3 / 0.4), 0.0],
          [log(0.3 / 0.4), log(0.3 / 0.2), 0.0],
          [0.0, 0.0, 0.0],
          [0.0, 0.0, 0.0],
      ],
      atol=1e-6,
  )


def test_gains_are_an_unbiased_score_term_of_the_bound():
  """All 27 draws of three of three reasonings; likelihoods held."""
  chances, values = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.1, 0.4])
  expected, actual = np.zeros(3), np.zeros(3)
  drawn = np.array(list(itertools.product(range(3), repeat=3)))
  logs = np.log(values[drawn]).astype(np.float32)
  gains = np.asarray(jax.jit(likelihood.jensen_gains)(logs), np.float64)
  for row, own in zip(drawn, gains):
    chance = np.prod(chances[row])
    scores = np.eye(3)[row] - chances  # of the logits
    bound = math.log(np.mean(values[row]))
    expected += chance * bound * scores.sum(axis=0)
    actual += chance * (own[:, None] * scores).sum(axis=0)
  np.testing.assert_allclose(actual, expected, atol=1e-6)


IDS = jnp.array([[0, 0, 1, 2, -1], [1, 1, 1, 0, 0]])
STEP_MASK = jnp.array([[True] * 5, [True, False, True, False, False]])
implicit = functools.partial(
    likelihood.implicit_step_rewards, coefficient=0.5, num_steps=3
)


@variants.every
def test_implicit_rewards_by_hand(variant):
  model = jnp.array([[-1.0, -2.0, -3.0, -4.0, 9.0], [-1.0, NAN, -3.0, 7, 7]])
  behavior = jnp.array([[-2.0, -2.0, -1.0, -8.0, 0.0], [0.0, NAN, -1.0, 7, 7]])
  actual = variant(implicit)(model, behavior, IDS, STEP_MASK)
  np.testing.assert_allclose(actual, [[0.5, -1, 2], [0, -1.5, 0]])


def test_implicit_rewards_of_the_policy_itself_are_zero():
  x = jnp.array(np.random.default_rng(0).normal(size=(2, 5)))
  np.testing.assert_array_equal(implicit(x, x, IDS, STEP_MASK), 0.0)


def test_implicit_rewards_reach_only_real_tokens():
  x = jnp.where(STEP_MASK, -1.0, NAN)
  slope = jax.grad(lambda m: jnp.sum(implicit(m, x, IDS, STEP_MASK)))(x)
  np.testing.assert_array_equal(
      slope, [[0.5, 0.5, 0.5, 0.5, 0], [0.5, 0, 0.5, 0, 0]]
  )


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="kind must be one of log_prob, mean"):
    likelihood.answer_likelihood(LOG_PROBS, kind="perplexity")
  with pytest.raises(ValueError, match="answer_likelihood: expected one"):
    likelihood.answer_likelihood(LOG_PROBS, MASK[:, :2], kind="prob")
  with pytest.raises(ValueError, match="debiased: baseline must broadcast"):
    likelihood.debiased(jnp.ones((2, 3)), jnp.ones((3, 1)))
  with pytest.raises(ValueError, match="num_steps must be in"):
    likelihood.implicit_step_rewards(
        LOG_PROBS, LOG_PROBS, IDS[:, :4], MASK, coefficient=1.0, num_steps=0
    )
