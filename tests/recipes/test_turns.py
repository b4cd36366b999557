import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.core import reduction
from rewardjax.recipes import credit as credits
from rewardjax.recipes import losses, turns
from rewardjax.types import Reward, Rollouts

NAN = jnp.nan
# Three turns of one action and one observation each.
TURNS = jnp.array([[[0, 0, 1, 1, 2, 2]]] * 2).reshape(1, 2, 6)
MASK = jnp.array([[[1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 0, 0]]], bool)
REWARDS = jnp.array([[[0.0, 0.0, 1.0], [0.25, 0.0, 9.0]]])
VALUES = jnp.array([[[0.5, 99, 0.6, 99, 0.7, 99], [0.5, NAN, 0.6, NAN, 0, 0]]])


def test_gae_skips_observations():
  """The section's example: the values 99 must not leak."""
  credit = turns.turn_gae_credit(
      REWARDS, TURNS, MASK, VALUES, whiten=False
  )
  own = np.asarray(MASK[0, 0])
  np.testing.assert_allclose(
      credit.advantages[0, 0][own], [0.46575, 0.385, 0.3], rtol=1e-5
  )
  np.testing.assert_allclose(
      credit.returns[0, 0][own], [0.96575, 0.985, 1.0], rtol=1e-5
  )


def test_group_credit_by_hand():
  credit = turns.turn_group_credit(REWARDS, TURNS, MASK, leave_one_out=True)
  # Turn 2 of sample 1 was not played: its 9 is not paid.
  np.testing.assert_allclose(credit.advantages[0, :, 0], [0.75, -0.75])
  grpo = turns.turn_group_credit(REWARDS, TURNS, MASK)
  np.testing.assert_allclose(
      grpo.advantages[0, :, 0], [0.5**0.5, -(0.5**0.5)], rtol=1e-4
  )


def test_observations_change_no_gradient():
  log_probs = -np.random.default_rng(0).random(MASK.shape)

  def slope(log_probs, values):
    rollouts = Rollouts(
        jnp.zeros((1, 1), int), jnp.ones((1, 1), bool),
        jnp.zeros(MASK.shape, int), MASK, log_probs, jnp.zeros((1, 2), bool),
    )

    def loss(log_probs):
      total = 0.0
      for credit in (
          turns.turn_gae_credit(REWARDS, TURNS, MASK, values),
          turns.turn_group_credit(REWARDS, TURNS, MASK),
          turns.turn_group_credit(REWARDS, TURNS, MASK, leave_one_out=True),
      ):
        total += losses.policy_loss(
            log_probs, rollouts, credit,
            losses.clipped(clip_low=0.2, clip_high=0.2),
            reduction.token_mean,
        )[0].value
      return total

    return jax.grad(loss)(log_probs)

  # Eagerly, so that a NaN shows; all at once.
  mask = np.asarray(MASK)
  rows = lambda x: jnp.asarray(
      np.stack([np.where(mask, x, poison) for poison in (0, 7, np.nan)]),
      jnp.float32,
  )
  slopes = np.asarray(jax.vmap(slope)(rows(log_probs), rows(VALUES)))
  assert np.any(slopes[0] != 0)
  for poisoned in slopes[1:]:
    np.testing.assert_array_equal(poisoned, slopes[0])
  np.testing.assert_array_equal(slopes[0][~mask], 0.0)


def test_early_rewards_are_paid_on_their_turns_and_the_rest_at_the_end():
  """A sum over turns, paid on the way, is `turn_gae_credit`."""
  rollouts = Rollouts(
      jnp.zeros((1, 1), int), jnp.ones((1, 1), bool),
      jnp.zeros(MASK.shape, int), MASK, jnp.zeros(MASK.shape),
      jnp.zeros((1, 2), bool),
  )
  early = jnp.where(MASK, jnp.repeat(REWARDS, 2, axis=-1), NAN)
  total = jnp.array([[1.0, 0.25]])  # the 9 is of a turn that was not played
  known = jnp.ones((1, 2), bool)
  options = dict(discount=1.0, decay=0.95)
  found = credits.gae_credit(
      rollouts, Reward(total, known), VALUES, early_rewards=early, **options
  )
  expected = turns.turn_gae_credit(REWARDS, TURNS, MASK, VALUES)
  np.testing.assert_allclose(found.advantages, expected.advantages, atol=1e-6)
  np.testing.assert_allclose(found.returns, expected.returns, atol=1e-6)
  # A penalty for the whole sample comes with its last token.
  reward = Reward(total - 0.5, known)
  late = credits.return_credit(rollouts, reward, early_rewards=early)
  np.testing.assert_allclose(
      late.advantages,
      [[[0.5, 0, 0.5, 0, 0.5, 0], [-0.25, 0, -0.5, 0, 0, 0]]],
      atol=1e-6,
  )
  # Nothing is paid for a sample whose reward is unknown.
  unknown = Reward(total.at[0, 1].set(NAN), known.at[0, 1].set(False))
  late = credits.return_credit(rollouts, unknown, early_rewards=early)
  np.testing.assert_array_equal(late.advantages[0, 1], 0.0)
