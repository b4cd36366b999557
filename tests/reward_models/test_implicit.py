import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import implicit, pairwise
from tests import variants

NAN = jnp.nan
LOG_PROBS = jnp.array([[-1.0, -2.0, NAN], [-0.5, NAN, NAN]])
BEFORE = jnp.array([[-1.5, -1.0, NAN], [-2.0, NAN, NAN]])
MASK = jnp.array([[True, True, False], [True, False, False]])


@variants.every
def test_rewards_by_hand(variant):
  rewards = variant(implicit.implicit_reward)(LOG_PROBS, BEFORE, MASK)
  np.testing.assert_allclose(rewards, [-0.5, 1.5])


def test_the_reference_is_held():
  total = lambda x, y: jnp.sum(implicit.implicit_reward(x, y, MASK))
  to_policy, to_reference = jax.grad(total, (0, 1))(LOG_PROBS, BEFORE)
  np.testing.assert_array_equal(to_policy, MASK)
  np.testing.assert_array_equal(to_reference, 0)


@variants.every
def test_beta_by_hand(variant):
  betas = variant(implicit.dynamic_beta)(jnp.array([0.0, 1.0, 4.0, -3.0]))
  expected = [0.1, 0.119673, 0.143233, 0.1]
  np.testing.assert_allclose(betas, expected, rtol=1e-5)


def test_beta_is_bounded_and_rises():
  margins = jnp.linspace(-5, 1e4, 1001)
  betas = implicit.dynamic_beta(margins, base=0.2, weight=0.3, rate=1.0)
  assert jnp.all(jnp.diff(betas) >= 0)
  assert betas[0] == 0.2 and betas[-1] == pytest.approx(0.26)


def test_without_weight_it_is_the_plain_loss():
  betas = implicit.dynamic_beta(jnp.array([0.3, 2.0]), weight=0.0)
  diff = jnp.array([0.4, -1.0])
  np.testing.assert_allclose(
      pairwise.pairwise_logistic(diff, beta=betas),
      pairwise.pairwise_logistic(diff, beta=0.1),
      rtol=1e-6,
  )


def test_no_gradient_reaches_the_margins():
  slope = jax.grad(lambda x: jnp.sum(implicit.dynamic_beta(x)))
  np.testing.assert_array_equal(slope(jnp.array([0.5, -1.0])), 0)


def test_the_optimum_of_the_loss_is_the_tilted_policy():
  """At DPO's optimum the implicit reward times beta is the true reward."""
  true = np.array([0.0, 1.0, -0.5])
  wins = 1 / (1 + np.exp(-(true[:, None] - true[None])))
  beta = 0.5
  before = jax.nn.log_softmax(jnp.array([0.2, -0.4, 0.0]))

  def loss(logits):
    policy = jax.nn.log_softmax(logits)[:, None]
    r = implicit.implicit_reward(policy, before[:, None])
    losses = pairwise.pairwise_logistic(
        r[:, None] - r[None], target=jnp.asarray(wins), beta=beta
    )
    return jnp.mean(losses)

  optimum = before + true / beta
  np.testing.assert_allclose(jax.grad(loss)(optimum), 0, atol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'reference_log_probs': \(2, 2\)"):
    implicit.implicit_reward(LOG_PROBS, BEFORE[:, 1:])
  for name, value in (("base", 0.0), ("weight", -1.0), ("rate", -0.1)):
    with pytest.raises(ValueError, match=f"dynamic_beta: {name} must be in"):
      implicit.dynamic_beta(jnp.ones(2), **{name: value})
