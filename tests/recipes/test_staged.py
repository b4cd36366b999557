import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import staged
from rewardjax.reward_models import ensembles
from rewardjax.types import Reward, Rollouts

NAN = jnp.nan
REWARDS = jnp.array([[0.1, 10.0], [0.3, 30.0], [0.2, NAN], [NAN, 20.0]])
MASK = ~jnp.isnan(REWARDS)
SCALE = ensembles.fit_scale(REWARDS, MASK)
WEIGHTS = jnp.array([1.0, 2.0])


def test_standardized_sum_by_hand():
  found = staged.standardized_sum(REWARDS, SCALE, WEIGHTS, MASK)
  # Both have mean 2 and std sqrt(2/3) in their own units of .1 and 10.
  z = np.sqrt(1.5)
  np.testing.assert_allclose(found.value, [-3 * z, 3 * z, 0, 0], atol=1e-5)
  np.testing.assert_array_equal(found.valid, [True, True, False, False])


def test_no_unit_matters_and_weight_zero_switches_off():
  other = np.asarray(REWARDS) * [[7.0, 0.1]] + [[-1.0, 5.0]]

  @jax.jit
  def sums(other):
    once = staged.standardized_sum(REWARDS, SCALE, WEIGHTS, MASK).value
    scale = ensembles.fit_scale(other, MASK)
    again = staged.standardized_sum(other, scale, WEIGHTS, MASK).value
    alone = staged.standardized_sum(
        REWARDS, SCALE, jnp.array([1.0, 0.0]), MASK
    )
    only = staged.standardized_sum(
        REWARDS[:, :1], ensembles.Scale(SCALE.mean[:1], SCALE.std[:1]),
        jnp.ones(1), MASK[:, :1],
    )
    return once, again, alone, only.value

  once, again, alone, only = sums(other)
  np.testing.assert_allclose(again, once, atol=1e-4)
  np.testing.assert_allclose(alone.value, only, atol=1e-6)
  np.testing.assert_array_equal(alone.valid, [True, True, True, False])


ALL = np.array(list(itertools.product(range(3), repeat=3)))[None]
LOGITS = np.array([[0.3, -0.2, 0.1], [1.0, 0.0, -1.0], [0.2, 0.2, -0.5]])
REFERENCE = 0.5 * LOGITS + np.array([[0.1, 0.0, -0.3]])
PAID = jnp.asarray(np.random.default_rng(0).normal(size=(1, 27)))


@jax.jit
def of_all(logits):
  log_probs = jax.nn.log_softmax(logits)[None, None]
  return jnp.take_along_axis(log_probs, jnp.asarray(ALL)[..., None], -1)[..., 0]


def rollouts():
  return Rollouts(
      jnp.zeros((1, 1), int), jnp.ones((1, 1), bool), jnp.asarray(ALL),
      jnp.ones(ALL.shape, bool), of_all(LOGITS), jnp.zeros((1, 27), bool),
  )


@jax.jit
def expected_gradient(baseline):
  """Sums the recipe's gradient over all 27 texts, each by its probability."""
  chance = jnp.exp(jnp.sum(of_all(LOGITS), -1))

  def loss(logits):
    def one(i):
      pick = lambda x: x[:, i][:, None]
      batch = rollouts()
      batch = batch._replace(
          tokens=pick(batch.tokens), mask=pick(batch.mask),
          log_probs=pick(batch.log_probs), truncated=pick(batch.truncated),
      )
      known = jnp.ones((1, 1), bool)
      return staged.music_rl(
          pick(of_all(logits)), batch, Reward(pick(PAID), known),
          baseline[None], pick(of_all(REFERENCE)), kl_coefficient=0.4,
      )[0].total

    return jnp.sum(chance[0] * jax.vmap(one)(jnp.arange(27)))

  return jax.grad(loss)(jnp.asarray(LOGITS))


def test_expected_gradient_is_that_of_the_objective():
  def objective(logits):
    log_probs, reference = of_all(logits), of_all(REFERENCE)
    total = jnp.sum(log_probs, -1)
    kl = total - jnp.sum(reference, -1)
    return jnp.sum(jnp.exp(total) * (PAID - 0.4 * kl))

  exact = -np.asarray(jax.jit(jax.grad(objective))(jnp.asarray(LOGITS)))
  for baseline in (0.0, 3.0):
    np.testing.assert_allclose(
        expected_gradient(jnp.asarray(baseline)), exact, rtol=1e-4, atol=1e-5
    )


def test_masks_metrics_and_what_is_held():
  log_probs = jnp.array([[[-1.0, -2.0], [-0.5, NAN]]])
  mask = jnp.array([[[True, True], [True, False]]])
  batch = Rollouts(
      jnp.zeros((1, 1), int), jnp.ones((1, 1), bool),
      jnp.zeros((1, 2, 2), int), mask, log_probs, jnp.zeros((1, 2), bool),
  )
  reference = jnp.array([[[-1.5, -2.5], [-0.25, NAN]]])

  def run(log_probs, baseline, value):
    reward = Reward(value, jnp.ones((1, 2), bool))
    return staged.music_rl(
        log_probs, batch, reward, baseline, reference, kl_coefficient=0.1
    )

  value, baseline = jnp.array([[2.0, 3.0]]), jnp.array([0.5])
  loss, metrics = run(log_probs, baseline, value)
  # KLs 1 and -0.25: paid 1.9 and 3.025.
  assert float(loss.total) == pytest.approx(1.4 * 3 + 2.525 * 0.5, rel=1e-5)
  np.testing.assert_allclose(metrics["reference_kl"].value, 0.375, rtol=1e-5)
  np.testing.assert_allclose(
      metrics["baseline"].total, 1.4**2 + 2.525**2, rtol=1e-5
  )
  slopes = jax.grad(lambda *args: run(*args)[0].total, (0, 1, 2))(
      log_probs, baseline, value
  )
  np.testing.assert_allclose(
      slopes[0], [[[-1.4, -1.4], [-2.525, 0.0]]], rtol=1e-5
  )
  np.testing.assert_array_equal(slopes[1], 0.0)
  np.testing.assert_array_equal(slopes[2], 0.0)


def test_kl_is_not_negative_in_expectation():
  total = np.sum(of_all(LOGITS), -1)
  kl = total - np.sum(of_all(REFERENCE), -1)
  assert float(np.sum(np.exp(total) * kl)) > 0


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'weights': \(3,\)"):
    staged.standardized_sum(REWARDS, SCALE, jnp.ones(3))
  with pytest.raises(ValueError, match="music_rl: .*'reference'"):
    staged.music_rl(
        of_all(LOGITS), rollouts(), Reward(PAID, PAID > -9), jnp.zeros(1),
        of_all(LOGITS)[..., :2], kl_coefficient=0.1,
    )
