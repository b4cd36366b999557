"""Samples of older parameters, weighed so that the gradient is the present's.

Expectations are exact: sums over every pair of sequences of a small policy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.core import reduction
from rewardjax.recipes import decoupled, losses
from rewardjax.recipes.credit import group_credit
from rewardjax.types import Rollouts
from tests import enumeration, exact_gradients, worlds

SPACE = enumeration.make_space(2, 2)


def stale_world():
  rewards = np.arange(2 * len(SPACE.tokens)).reshape(2, -1) % 3 == 1
  world = worlds.make_world(SPACE, rewards)
  shift = np.random.default_rng(5).normal(size=np.shape(world.params))
  return world._replace(behavior=world.params + 0.8 * shift)


def estimator(surrogate, **options):
  def loss(log_probs, batch):
    credit = group_credit(batch.rollouts, batch.reward, group.leave_one_out)
    # At the start of an update the trainer's log-probs are the policy's.
    trainer = jax.lax.stop_gradient(log_probs)
    rollouts, credit, _ = decoupled.decouple(
        batch.rollouts, credit, trainer, **options
    )
    return losses.policy_loss(
        log_probs, rollouts, credit, surrogate, reduction.sequence_sum_mean
    )[0]

  return loss


def verdicts(*estimators):
  world = stale_world()
  found = enumeration.expected_gradients(
      SPACE, world, estimators, group_size=2
  )
  target = exact_gradients.exact_gradient(
      world, exact_gradients.expected_score(SPACE, world)
  )
  return [exact_gradients.compare(x, target).verdict for x in found]


@pytest.mark.parametrize(
    "surrogate",
    [losses.score(), losses.clipped(clip_low=0.2, clip_high=0.2)],
    ids=["score", "clipped"],
)
def test_untruncated_sequence_weights_give_the_present_gradient(surrogate):
  """Nothing is clipped at the start of an update: all of it is the weight."""
  whole = dict(level="sequence", cap=float("inf"))
  found = verdicts(
      estimator(surrogate, **whole),
      estimator(surrogate, correction="none"),
      estimator(surrogate, level="sequence", cap=1.1),
      estimator(surrogate, level="token", cap=float("inf")),
  )
  assert found == ["unbiased", "biased", "biased", "biased"]


ROLLOUTS = Rollouts(
    jnp.zeros((1, 1), int),
    jnp.ones((1, 1), bool),
    jnp.zeros((1, 2, 2), int),
    jnp.array([[[True, True], [True, False]]]),
    jnp.log(jnp.array([[[0.5, 0.25], [0.2, jnp.nan]]])),
    jnp.zeros((1, 2), bool),
)
TRAINER = jnp.log(jnp.array([[[0.25, 0.75], [0.2, jnp.nan]]]))


def decouple(**options):
  credit = decoupled.Credit(jnp.array([[[1.0], [-2.0]]]), ROLLOUTS.mask)
  return decoupled.decouple(ROLLOUTS, credit, TRAINER, **options)


@pytest.mark.parametrize(
    "correction, weights, clipped",
    [
        ("none", [1, 1, 1], 1 / 3),
        ("truncated", [0.5, 2, 1], 1 / 3),  # the ratios are 0.5, 3 and 1
        ("masked", [0.5, 0, 1], 1 / 3),
    ],
)
def test_weights_by_hand(correction, weights, clipped):
  rollouts, credit, metrics = decouple(correction=correction)
  real = np.asarray(ROLLOUTS.mask)
  signs = np.array([1, 1, -2])
  np.testing.assert_allclose(
      np.asarray(credit.advantages)[real], signs * weights, rtol=1e-6
  )
  np.testing.assert_array_equal(rollouts.log_probs, TRAINER)
  values = {name: float(mean.value) for name, mean in metrics.items()}
  np.testing.assert_allclose(values["staleness_weight"], np.mean(weights))
  np.testing.assert_allclose(values["staleness_clipped"], clipped, rtol=1e-6)
  gap = (np.log(2) + np.log(3)) / 3
  np.testing.assert_allclose(values["sampler_gap"], gap, rtol=1e-6)


def test_options_that_do_not_exist_are_named(no_jaxtyping):
  with pytest.raises(ValueError, match="correction must be one of none, tr"):
    decouple(correction="clip")
  with pytest.raises(ValueError, match="cap must be in"):
    decouple(cap=0.5)
