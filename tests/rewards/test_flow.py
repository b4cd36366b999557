import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models.flow import VelocityNet
from rewardjax.rewards import flow
from tests import variants

NAN = jnp.nan
KEY = jax.random.key(0)


def best_velocity(x, mean, time):
  """Exact, for states N(mean, I)."""
  c = (time - (1 - time)) / (time**2 + (1 - time) ** 2)
  return mean + c * (x - time * mean), c


def test_deviation_grows_with_the_distance_as_the_closed_form_says():
  time, size, draws = 0.8, 4, 40_000
  mean = jnp.array([0.5, -1.0, 0.0, 2.0])
  expected = {0: 1.3841, 1: 1.4057, 2: 1.4706, 4: 1.7301}

  @jax.jit
  def deviations(distances):
    noise = jax.random.normal(KEY, (draws, size))

    def mean_deviation(distance):
      hidden = jnp.broadcast_to(mean.at[0].add(distance), noise.shape)
      x, target = flow.noisy_states(hidden, noise, jnp.full(draws, time))
      velocity, _ = best_velocity(x, mean[None], time)
      return jnp.mean(flow.velocity_deviation(velocity, target))

    return jax.vmap(mean_deviation)(distances)

  distances = np.array(list(expected), np.float32)
  _, c = best_velocity(0.0, 0.0, time)
  closed = (c * time - 1) ** 2 * distances**2 / size
  closed += (1 + c * (1 - time)) ** 2
  np.testing.assert_allclose(closed, list(expected.values()), atol=5e-5)
  np.testing.assert_allclose(deviations(distances), closed, atol=0.03)
  np.testing.assert_allclose(c, 0.882353, atol=1e-6)


def test_score_weighs_times_and_averages_draws():
  deviations = jnp.array([[[1.0, 2.0]], [[3.0, 4.0]]])
  score = flow.flow_score(deviations, jnp.array([0.8, 0.5]))
  np.testing.assert_allclose(score, [[(4 + 3) / 2, (8 + 4) / 2]], rtol=1e-5)


SCORES = jnp.array([[1.0, 5.0, 3.0, 4.0, NAN], [2.0, 2.0, 2.0, NAN, NAN]])
MASK = jnp.array([[True] * 4 + [False], [True] * 3 + [False] * 2])


@variants.every
def test_reward_by_hand(variant):
  found = variant(flow.flow_reward)(SCORES, MASK)
  # Scaled 0, 1, .5, .75: two are above .6. A constant row gets nothing.
  expected = [[0, -0.01, 0, -0.0075, 0], [0] * 5]
  np.testing.assert_allclose(found, expected, atol=1e-8)


def test_bilateral_reward_pays_typical_tokens():
  found = flow.flow_reward(
      SCORES, MASK, bilateral=True, coefficient=1.0, threshold=0.4
  )
  # Scaled -1, 1, 0, .5.
  np.testing.assert_allclose(found[0], [1, -1, 0, -0.5, 0], atol=1e-6)
  np.testing.assert_array_equal(found[1], 0.0)


def test_nothing_valid_is_zero():
  none = jnp.zeros((1, 3), bool)
  found = flow.flow_reward(jnp.full((1, 3), NAN), none)
  np.testing.assert_array_equal(found, 0.0)


def test_conditions_by_hand():
  hidden = jnp.array([[[1.0], [2.0], [3.0], [NAN]]])
  mask = jnp.array([[True, True, True, False]])
  make = lambda **k: flow.neighbor_condition(hidden, mask, **k)[0, :, 0]
  np.testing.assert_array_equal(make(), [0, 1, 2, 3])
  np.testing.assert_array_equal(make(kind="after"), [2, 3, 0, 0])
  np.testing.assert_array_equal(make(offset=2), [0, 0, 1, 2])
  np.testing.assert_array_equal(make(kind="itself"), [1, 2, 3, 0])


def test_no_gradient_reaches_the_observed_model():
  def total(hidden):
    noise = jnp.ones(hidden.shape)
    x, target = flow.noisy_states(hidden, noise, jnp.full((2,), 0.8))
    return jnp.sum(flow.velocity_deviation(3 * x, target))

  np.testing.assert_array_equal(jax.grad(total)(jnp.ones((2, 3))), 0.0)
  slope = jax.grad(lambda s: jnp.sum(flow.flow_reward(s, MASK)))(SCORES)
  np.testing.assert_array_equal(slope, 0.0)
  slope = jax.grad(
      lambda v, u: jnp.sum(flow.velocity_deviation(v, u)), (0, 1)
  )(jnp.ones((1, 2)), jnp.zeros((1, 2)))
  np.testing.assert_allclose(slope[0], 1.0)
  np.testing.assert_array_equal(slope[1], 0.0)


def test_a_trained_net_tells_typical_states_from_others():
  """From zero velocities to a score that is higher off the data."""
  import optax

  net = VelocityNet(width=16, depth=1, frequencies=2)
  layer = jnp.zeros(64, int)
  optimizer = optax.adam(3e-2)

  def deviation(params, hidden, noise, time):
    x, target = flow.noisy_states(hidden, noise, time)
    guess = net.apply(params, x, time, jnp.zeros_like(x), layer)
    return jnp.mean(flow.velocity_deviation(guess, target))

  def loss(params, key):
    keys = jax.random.split(key, 3)
    hidden = 2 + 0.1 * jax.random.normal(keys[0], (64, 2))
    noise = jax.random.normal(keys[1], hidden.shape)
    return deviation(params, hidden, noise, jax.random.uniform(keys[2], (64,)))

  def step(carry, key):
    params, state = carry
    value, slope = jax.value_and_grad(loss)(params, key)
    updates, state = optimizer.update(slope, state)
    return (optax.apply_updates(params, updates), state), value

  @jax.jit
  def train(key):
    rows, ones = jnp.ones((64, 2)), jnp.ones(64)
    params = net.init(key, rows, ones, rows, layer)
    untrained = net.apply(params, rows, ones, rows, layer)
    # The loss of the first draws, before and after.
    keys = jnp.append(jax.random.split(key, 150), key)
    keys = jnp.concatenate([key[None], keys])
    carry = params, optimizer.init(params)
    (params, _), losses = jax.lax.scan(step, carry, keys)
    noise = jax.random.normal(key, (64, 2))
    score = lambda value: deviation(
        params, jnp.full((64, 2), value), noise, jnp.full(64, 0.8)
    )
    return untrained, losses, jax.vmap(score)(jnp.array([-1.0, 2.0]))

  untrained, losses, (off, on) = jax.device_get(train(KEY))
  np.testing.assert_array_equal(untrained, 0.0)
  assert losses[-1] < 0.5 * losses[0]
  assert off > 2 * on


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="kind must be one of before"):
    flow.neighbor_condition(jnp.ones((1, 2, 1)), MASK[:1, :2], kind="next")
  with pytest.raises(ValueError, match="threshold must be in"):
    flow.flow_reward(SCORES, MASK, threshold=1.5)
  with pytest.raises(ValueError, match=r"'times': \(3,\)"):
    flow.flow_score(jnp.ones((2, 1, 1)), jnp.ones(3))
