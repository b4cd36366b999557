import jax
import jax.numpy as jnp
import numpy as np

from configs.rlvr import base
from experiments import rlvr_stages
from rewardjax.types import Reward, Rollouts


def test_wrong_samples_pay_for_being_short():
  """HARMO's example; what was observed decides, unknown samples pay nothing."""
  lengths = np.array([[100, 200, 50, 150, 20], [9, 8, 7, 6, 5]])
  mask = np.arange(200) < lengths[..., None]
  empty = jnp.zeros((2, 5, 200))
  rollouts = Rollouts(
      jnp.zeros((2, 1), int), jnp.ones((2, 1), bool), empty.astype(int),
      jnp.asarray(mask), empty, jnp.zeros((2, 5), bool),
  )  # fmt: skip
  right = np.array([[1.0, 1.0, 0.0, 0.0, np.nan], [0.0] * 5])
  known = ~np.isnan(right)
  # Corrected rewards say nothing of who is right.
  reward = Reward(jnp.full((2, 5), 0.25), jnp.asarray(known))
  observed = Reward(jnp.asarray(right, jnp.float32), jnp.asarray(known))
  config = base.get_config()
  config.shaping.short_penalty = 0.5

  def shaped(options):
    call = lambda *args: rlvr_stages.shape_reward(*args[:2], options, args[2])
    return jax.jit(call)(reward, rollouts, observed)

  expected = [[0.25, 0.25, 0.25 - 1 / 3, 0.25, 0.25], [0.25] * 5]
  np.testing.assert_allclose(shaped(config.shaping).value, expected, rtol=1e-6)
  config.shaping.short_tolerance = 0.5
  expected[0][2] = 0.25 - 0.5
  np.testing.assert_allclose(shaped(config.shaping).value, expected, rtol=1e-6)
  config.shaping.short_penalty = 0.0
  np.testing.assert_allclose(shaped(config.shaping).value, 0.25, rtol=1e-6)
