import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rewardjax.core.masking import Mean
from rewardjax.training import meta
from tests import variants

# Three quadratics: where imitation, exploration and the value lead.
THETA = {"a": jnp.array([0.2]), "b": jnp.array([0.3])}
IMITATED, EXPLORED, BEST = (1.0, 0.0), (0.0, 2.0), (0.5, 1.8)


def away_from(target):
  point = dict(zip("ab", target))
  return lambda x: {k: x[k] - point[k] for k in x}


def value(params):
  gaps = jax.tree.leaves(away_from(BEST)(params))
  return -0.5 * sum(jnp.sum(jnp.square(gap)) for gap in gaps)


def gradients(params):
  return away_from(EXPLORED)(params), away_from(IMITATED)(params)


def test_the_step_and_its_slope_by_hand():
  exploration, imitation = gradients(THETA)
  mixed = meta.mix(exploration, imitation, weight=0.5)
  reached = jax.tree.map(lambda x, g: x - 0.1 * g, THETA, mixed)
  np.testing.assert_allclose(reached["a"], 0.23, rtol=1e-5)
  np.testing.assert_allclose(reached["b"], 0.37, rtol=1e-5)
  slope = meta.one_step_slope(
      jax.grad(value)(reached), exploration, imitation, learning_rate=0.1
  )
  np.testing.assert_allclose(slope, -0.259, rtol=1e-5)
  optimizer = optax.sgd(0.1)
  ahead = meta.lookahead_slope(
      value, 0.5, THETA, exploration, imitation,
      optimizer=optimizer, opt_state=optimizer.init(THETA),
  )
  np.testing.assert_allclose(ahead, -0.259, rtol=1e-5)


def test_lookahead_through_adam_is_the_slope_of_adam():
  """Finite differences of the update itself, after a few steps of history."""
  with jax.enable_x64(True):
    params = jax.tree.map(lambda x: jnp.asarray(x, float), THETA)
    optimizer = optax.adam(0.1)
    state = optimizer.init(params)
    for _ in range(3):
      mixed = meta.mix(*gradients(params), weight=0.3)
      updates, state = optimizer.update(mixed, state, params)
      params = optax.apply_updates(params, updates)
    exploration, imitation = gradients(params)

    def reached(weight):
      mixed = meta.mix(exploration, imitation, weight=weight)
      updates, _ = optimizer.update(mixed, state, params)
      return value(optax.apply_updates(params, updates))

    actual = meta.lookahead_slope(
        value, 0.3, params, exploration, imitation,
        optimizer=optimizer, opt_state=state,
    )
    expected = (reached(0.3 + 1e-5) - reached(0.3 - 1e-5)) / 2e-5
    plain = meta.one_step_slope(
        jax.grad(value)(params), exploration, imitation, learning_rate=0.1
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert abs(plain - actual) > 0.1 * abs(actual)  # not the same thing


def test_the_weight_climbs_to_the_value():
  """With a value that imitation reaches, the weight goes to its end."""
  for best, end in ((IMITATED, 0.98), (EXPLORED, 0.02)):
    weight, params = jnp.array(0.5), THETA
    goal = away_from(best)
    for _ in range(15):
      exploration, imitation = gradients(params)
      mixed = meta.mix(exploration, imitation, weight=weight)
      params = jax.tree.map(lambda x, g: x - 0.1 * g, params, mixed)
      validation = jax.tree.map(jnp.negative, goal(params))
      slope = meta.one_step_slope(
          validation, exploration, imitation, learning_rate=0.1
      )
      weight = meta.next_weight(weight, slope, step_size=5.0)
    np.testing.assert_allclose(weight, end, rtol=1e-6)


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(), 0.52),
        (dict(step_size=1.0), 0.55),  # bounded
        (dict(step_size=1.0, largest_change=1.0), 0.7),
        (dict(step_size=100.0, largest_change=1.0), 0.98),
        (dict(step_size=-100.0, largest_change=1.0, low=0.1), 0.1),
        # Low entropy asks for imitation, high entropy for exploration.
        (dict(step_size=0.0, entropy=0.3), 0.51),
        (dict(step_size=0.0, entropy=0.6), 0.48),
    ],
)
def test_next_weight_by_hand(options, expected):
  options = dict(
      step_size=0.1, entropy=0.4, entropy_target=0.4, entropy_step=0.1
  ) | options
  step = lambda w, s: meta.next_weight(w, s, **options)
  np.testing.assert_allclose(step(0.5, 0.2), expected, rtol=1e-5)
  traced = jax.jit(step)(jnp.array(0.5), jnp.array(0.2))
  np.testing.assert_allclose(traced, expected, rtol=1e-5)


def mean(total, weight):
  return Mean(jnp.asarray(total), jnp.asarray(weight))


@variants.every
def test_mixed_loss_by_hand(variant):
  def mixed(a, b, c, d):
    loss = meta.mixed_loss(Mean(a, b), Mean(c, d), weight=0.25)
    return loss.value, loss.weight

  call = mixed if variant is variants.vmapped else jax.vmap(mixed)
  actual = variant(call)(*(jnp.array([x, x]) for x in (6.0, 3.0, 20.0, 5.0)))
  np.testing.assert_allclose(actual, [[2.5, 2.5], [3.0, 3.0]])


def test_mixed_loss_of_microbatches_and_of_nothing():
  whole = meta.mixed_loss(mean(6.0, 4.0), mean(20.0, 8.0), weight=0.3)
  # Each half holds half of the demonstrations.
  parts = [
      meta.mixed_loss(mean(total, 2.0), mean(10.0, 4.0), weight=0.3)
      for total in (1.0, 5.0)
  ]
  added = parts[0].merge(parts[1])
  np.testing.assert_allclose(added, whole, rtol=1e-6)
  np.testing.assert_allclose(whole.value, 0.7 * 1.5 + 0.3 * 2.5, rtol=1e-6)
  empty = mean(0.0, 0.0)
  only = meta.mixed_loss(empty, mean(6.0, 2.0), weight=0.5)
  np.testing.assert_allclose(only.value, 1.5)
  only = meta.mixed_loss(mean(6.0, 2.0), empty, weight=0.5)
  np.testing.assert_allclose(only.value, 1.5)


def test_errors():
  with pytest.raises(ValueError, match=r"mixed_loss: weight must be in \[0, 1"):
    meta.mixed_loss(mean(1.0, 1.0), mean(1.0, 1.0), weight=1.5)
  with pytest.raises(ValueError, match="mix: weight must be in"):
    meta.mix(THETA, THETA, weight=-0.1)
  with pytest.raises(ValueError, match=r"high must be in \[0.5, inf\]"):
    meta.next_weight(0.5, 0.0, step_size=1.0, low=0.5, high=0.4)
  with pytest.raises(ValueError, match="largest_change must be in"):
    meta.next_weight(0.5, 0.0, step_size=1.0, largest_change=-1.0)
