import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import dynamic_sampling, group
from rewardjax.recipes import credit
from rewardjax.recipes import policy_gradient as recipes
from rewardjax.types import Reward, Rollouts
from tests.recipes import batches


def _rollouts(mask, truncated=None, log_probs=None) -> Rollouts:
  mask = np.asarray(mask, bool)
  b, g, _ = mask.shape
  if log_probs is None:
    log_probs = np.zeros(mask.shape, np.float32)
  rollouts = Rollouts(
      prompts=np.zeros((b, 1), np.int32),
      prompt_mask=np.ones((b, 1), bool),
      tokens=np.zeros(mask.shape, np.int32),
      mask=mask,
      log_probs=log_probs,
      truncated=np.zeros((b, g), bool) if truncated is None else truncated,
  )
  return jax.tree.map(jnp.asarray, rollouts)


def _known(values) -> Reward:
  values = np.asarray(values, np.float32)
  return Reward(jnp.asarray(values), jnp.asarray(np.ones(values.shape, bool)))


def _compiled(function, *args, **options):
  """Its result for the host, from one program."""
  return jax.device_get(jax.jit(lambda *x: function(*x, **options))(*args))


def test_whitening_of_the_method_table():
  """Lengths 3, 4, 2 with returns 1, 0, 0 on every token."""
  mask = np.arange(4) < np.array([3, 4, 2])[:, None]
  actual = _compiled(
      credit.return_credit,
      _rollouts(mask[None]),
      _known([[1.0, 0.0, 0.0]]),
      whiten=True,
  )
  expected = np.where(mask, [[1.333333], [-0.666667], [-0.666667]], 0.0)
  np.testing.assert_allclose(actual.advantages[0], expected, atol=2e-6)
  np.testing.assert_array_equal(actual.mask[0], mask)


def test_returns_hold_the_reward_and_what_follows_of_the_penalty():
  log_probs = jnp.array([[[-1.0, -2.0, -3.0, -9.0]]])
  reference = jnp.array([[[-1.5, -2.0, -2.0, 5.0]]])
  rollouts = _rollouts([[[1, 1, 1, 0]]], log_probs=log_probs)
  actual = _compiled(
      credit.return_credit,
      rollouts,
      _known([[2.0]]),
      reference_log_probs=reference,
      kl_coefficient=0.1,
      discount=0.5,
      baseline=1.0,
  )
  # Per token: -.1 (.5, 0, -1) and 2 at the end.
  last = 2.1
  expected = [-0.05 + 0.25 * last - 1, 0.5 * last - 1, last - 1, 0]
  np.testing.assert_allclose(actual.advantages[0, 0], expected, rtol=1e-6)


def test_observations_inside_a_sample_take_no_part():
  """Pain 12: miles #1827, pytorch/rl #4404."""
  values = jnp.array([[[0.5, 0.6, 0.7, 0.0], [0.5, 0.6, 99.0, 0.7]]])
  rollouts = _rollouts([[[1, 1, 1, 0], [1, 1, 0, 1]]])
  actual = _compiled(
      credit.gae_credit,
      rollouts,
      _known([[1.0, 1.0]]),
      values,
      discount=1.0,
      decay=0.95,
      whiten=False,
  )
  a, b, c = 0.46575, 0.385, 0.3
  expected = [[a, b, c, 0], [a, b, 0, c]]
  np.testing.assert_allclose(actual.advantages[0], expected, rtol=1e-5)
  expected = [[a + 0.5, b + 0.6, 1, 0], [a + 0.5, b + 0.6, 0, 1]]
  np.testing.assert_allclose(actual.returns[0], expected, rtol=1e-5)


def test_only_truncated_samples_bootstrap():
  rollouts = _rollouts(np.ones((1, 2, 2)), truncated=jnp.array([[True, False]]))
  actual = _compiled(
      credit.gae_credit,
      rollouts,
      _known([[0.0, 0.0]]),
      jnp.zeros((1, 2, 2)),
      discount=1.0,
      decay=1.0,
      bootstrap=jnp.array([[5.0, jnp.nan]]),
      whiten=False,
  )
  np.testing.assert_allclose(actual.advantages, [[[5, 5], [0, 0]]])


def test_returns_are_those_before_whitening():
  batch = batches.make()
  options = dict(discount=0.9, decay=0.8)
  args = batches.rollouts(batch), batches.reward(batch)
  values = jnp.asarray(batch.behavior_values, jnp.float32)
  white = _compiled(credit.gae_credit, *args, values, **options)
  plain = _compiled(credit.gae_credit, *args, values, **options, whiten=False)
  np.testing.assert_array_equal(white.returns, plain.returns)
  np.testing.assert_allclose(
      plain.returns[batch.counted],
      (plain.advantages + np.asarray(values))[batch.counted],
      rtol=1e-5,
  )
  chosen = white.advantages[batch.counted]
  np.testing.assert_allclose(np.mean(chosen), 0.0, atol=1e-6)
  np.testing.assert_allclose(np.std(chosen, ddof=1), 1.0, rtol=1e-5)


def test_dead_groups_leave_the_denominator_of_dapo():
  """Pain 6: TRL #6365 (they dilute), verl-recipe #125 (shaped score)."""
  rollouts = _rollouts(np.ones((3, 2, 4)))
  outcome = _known([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
  options = dict(max_length=4, buffer=2)
  args = jnp.zeros((3, 2, 4)), rollouts, outcome
  loss, _ = _compiled(recipes.dapo, *args, **options)
  assert loss.weight == 8
  # One sample shorter: its length penalty differs, its outcome does not.
  mask = np.ones((3, 2, 4))
  mask[2, 1, 3] = 0
  given = _compiled(credit.dapo_credit, _rollouts(mask), outcome, **options)
  assert np.max(np.abs(given.advantages[2])) > 0.5
  np.testing.assert_array_equal(
      np.any(given.mask, (1, 2)), [True, False, False]
  )


def test_dapo_shapes_by_length_and_drops_truncated_samples_on_request():
  mask = np.arange(20) < np.array([16, 18, 20])[:, None]
  truncated = jnp.array([[False, False, True]])
  rollouts = _rollouts(mask[None], truncated)
  outcome = _known([[1.0, 1.0, 0.0]])
  options = dict(max_length=20, buffer=4)
  given = _compiled(credit.dapo_credit, rollouts, outcome, **options)
  expected = _compiled(group.standardized, jnp.array([1.0, 0.5, -1.0]))
  np.testing.assert_allclose(given.advantages[0, :, 0], expected, rtol=1e-6)
  options |= dict(drop_truncated=True)
  dropped = _compiled(credit.dapo_credit, rollouts, outcome, **options)
  np.testing.assert_array_equal(dropped.advantages, given.advantages)
  np.testing.assert_array_equal(
      np.any(dropped.mask[0], -1), [True, True, False]
  )


def test_dapo_after_refilling_sees_only_live_groups():
  """A buffer with one slot left dead: its tokens count nowhere."""
  buffer = (_rollouts(np.ones((3, 2, 4))), _known([[1, 0], [1, 1], [0, 0]]))
  fresh = (_rollouts(np.ones((2, 2, 4))), _known([[1, 1], [0, 1]]))

  def refill(buffer, fresh):
    live = [group.informative(*x[1]) for x in (buffer, fresh)]
    filled = dynamic_sampling.fill_groups(buffer, live[0], fresh, live[1])
    log_probs = jnp.zeros((3, 2, 4))
    loss, _ = recipes.dapo(log_probs, *filled.groups, max_length=9, buffer=2)
    return filled, loss

  filled, loss = _compiled(refill, buffer, fresh)
  assert filled.num_dead == 1
  _, reward = filled.groups
  np.testing.assert_array_equal(reward.value, [[1, 0], [0, 1], [0, 0]])
  assert loss.weight == 16


def test_group_metrics_by_hand():
  reward = Reward(
      jnp.array([[1.0, 0.0, jnp.nan], [1.0, 1.0, 1.0], [jnp.nan] * 3]),
      jnp.array([[True, True, False], [True] * 3, [False] * 3]),
  )
  metrics = jax.jit(credit.group_metrics)(reward)
  values = {name: mean.value for name, mean in metrics.items()}
  np.testing.assert_allclose(values["reward"], 4 / 5)
  np.testing.assert_allclose(values["reward_known"], 5 / 9)
  np.testing.assert_allclose(values["reward_variance"], 0.25)
  np.testing.assert_allclose(values["dead_groups"], 2 / 3)


# --- errors ------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [recipes.grpo, recipes.rloo])
def test_a_group_of_one_is_an_error(recipe):
  """Pain 42: flow_grpo #172 (one image per prompt, group baseline)."""
  with pytest.raises(ValueError, match="samples_per_group must be in"):
    rollouts = _rollouts(np.ones((2, 1, 3)))
    recipe(jnp.zeros((2, 1, 3)), rollouts, _known([[1.0], [0.0]]))


@pytest.mark.parametrize(
    "recipe", [recipes.grpo, recipes.rloo, recipes.reinforce]
)
def test_a_kl_coefficient_without_a_reference_is_an_error(recipe):
  """Pain 17 and 28: an option that would be silently ignored."""
  with pytest.raises(ValueError, match="kl_coefficient needs reference"):
    recipe(
        jnp.zeros((1, 2, 3)),
        _rollouts(np.ones((1, 2, 3))),
        _known([[1.0, 0.0]]),
        kl_coefficient=0.1,
    )


def test_an_unknown_option_is_an_error():
  """Pain 17: OpenRLHF ignores the margin it is given."""
  with pytest.raises(TypeError, match="kl_coef"):
    recipes.grpo(
        jnp.zeros((1, 2, 3)),
        _rollouts(np.ones((1, 2, 3))),
        _known([[1.0, 0.0]]),
        kl_coef=0.1,
    )


def test_ppo_wants_a_credit_with_returns():
  rollouts = _rollouts(np.ones((1, 2, 3)))
  given = credit.group_credit(rollouts, _known([[1.0, 0.0]]))
  with pytest.raises(ValueError, match="ppo: reward must be a Credit with"):
    recipes.ppo(
        jnp.zeros((1, 2, 3)), rollouts, given, values=jnp.zeros((1, 2, 3))
    )


def test_log_probs_of_another_shape_are_an_error(no_jaxtyping):
  with pytest.raises(ValueError, match="policy_loss: expected one common"):
    recipes.grpo(
        jnp.zeros((1, 2, 4)),
        _rollouts(np.ones((1, 2, 3))),
        _known([[1.0, 0.0]]),
    )
