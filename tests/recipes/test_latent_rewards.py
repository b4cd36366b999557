import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models.set_encoder import Gaussian
from rewardjax.recipes import latent_rewards

NAN = jnp.nan


def softmax(x):
  x = np.exp(np.asarray(x, np.float64))
  return x / x.sum(-1, keepdims=True)


def draw(seed, shape, poisoned=0):
  """Normal draws; the last rows are NaN."""
  x = np.random.default_rng(seed).normal(size=shape)
  x[shape[0] - poisoned :] = np.nan
  return jnp.asarray(x, jnp.float32)


CHOSEN, REJECTED = (draw(seed, (5, 9), 1) for seed in range(2))
ROWS = jnp.arange(5) < 4


def mass(row, allowed):
  p, q = softmax(CHOSEN[row]), softmax(REJECTED[row])
  pairs = itertools.product(range(9), range(9))
  return -np.log(sum(p[i] * q[j] for i, j in pairs if allowed(i, j)))


def test_oprm_mixes_pairs_with_and_without_levels():
  # Labelled good over bad; labelled normal twice; unlabelled; contradictory.
  levels = (jnp.array([2, 1, 0, 0, 0]), jnp.array([0, 1, 2, 1, 0]))
  labelled = jnp.array([True, True, False, True, True])

  def flooded(chosen):
    args = (chosen, REJECTED, levels, labelled, ROWS)
    return latent_rewards.oprm(*args, mode="flood")[0].value

  def blocked(chosen):
    args = (chosen, REJECTED, levels, labelled, ROWS)
    loss, metrics = latent_rewards.oprm(*args, mode="block")
    return loss.value, metrics["contradictory"].value

  (loss, contradictory), flood, slope = jax.jit(
      lambda x: (blocked(x), *jax.value_and_grad(flooded)(x))
  )(CHOSEN)
  expected = [
      mass(0, lambda i, j: i >= 6 and j <= 2),
      mass(1, lambda i, j: 3 <= j < i <= 5),
      mass(2, lambda i, j: i > j),
  ]
  np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-5)
  assert contradictory == 0.25
  expected[0] = mass(0, lambda i, j: i > j)
  np.testing.assert_allclose(flood, np.mean(expected), rtol=1e-5)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[3:], 0)


def test_oprm_without_levels_is_the_plain_preference():
  plain = lambda *args: latent_rewards.oprm(*args, mask=ROWS)[0]
  loss = jax.jit(plain)(CHOSEN, REJECTED)
  expected = [mass(row, lambda i, j: i > j) for row in range(4)]
  np.testing.assert_allclose(loss.value, np.mean(expected), rtol=1e-5)


def test_pal_by_hand():
  # f(x) = x, one ideal point at 0: margin .3, hinge .7; masked rows are NaN.
  chosen = jnp.array([[0.2], [NAN]])
  rejected = jnp.array([[-0.5], [NAN]])
  loss, metrics = latent_rewards.pal(
      chosen, rejected, jnp.zeros((2, 1)), jnp.zeros((1, 1)),
      jnp.array([True, False]),
  )
  np.testing.assert_allclose(loss.value, 0.7, rtol=1e-5)
  assert float(metrics["accuracy"].value) == 1


def angular(chosen, rejected, logits, points, log_scale, rows):
  """PAL-B in float64, over the first `rows` pairs."""
  found = []
  for c, r, u, g in zip(*(np.float64(x[:rows]) for x in (
      chosen, rejected, logits, points
  ))):
    ideal = softmax(u) @ g
    ideal /= np.linalg.norm(ideal)
    gap = c / np.linalg.norm(c) - r / np.linalg.norm(r)
    margin = min(np.exp(log_scale), 100) * (gap @ ideal)
    found.append(np.log1p(np.exp(-margin)))
  return np.mean(found)


@pytest.mark.parametrize("log_scale", [0.7, 6.0])
def test_angular_pal_is_a_cross_entropy_of_cosines(log_scale):
  draw = np.random.default_rng(0).normal
  arrays = [
      draw(size=shape).astype(np.float32)
      for shape in ((3, 4), (3, 4), (3, 2), (3, 2, 4))
  ]
  for x in arrays:
    x[2] = np.nan  # masked
  mask = jnp.array([True, True, False])
  loss = lambda *args: latent_rewards.pal_angular(*args, mask)[0].value
  value, (*slopes, of_scale) = jax.jit(
      jax.value_and_grad(loss, argnums=range(5))
  )(*map(jnp.asarray, arrays), jnp.float32(log_scale))
  np.testing.assert_allclose(value, angular(*arrays, log_scale, 2), rtol=1e-5)

  def moved(i, by):
    step = np.zeros(arrays[i].shape)
    step[1, ..., 0] = by
    new = [x + step if j == i else x for j, x in enumerate(arrays)]
    return angular(*new, log_scale, 2)

  for i, slope in enumerate(slopes):
    assert np.all(np.isfinite(slope)) and not np.any(slope[2])
    expected = (moved(i, 1e-5) - moved(i, -1e-5)) / 2e-5
    np.testing.assert_allclose(
        np.sum(slope[1, ..., 0]), expected, rtol=2e-3, atol=1e-6
    )
  # The scale grows until its limit, and no gradient pulls it further.
  assert (of_scale == 0) == (log_scale > np.log(100))


def test_pal_users_mix_prototypes():
  logits = jnp.log(jnp.array([[0.25, 0.75], [1.0, 1.0]]))
  prototypes = jnp.array([[0.0, 0.0], [4.0, 0.0]])
  chosen, rejected = jnp.array([[3.0, 0.0], [0.0, 0.0]]), jnp.zeros((2, 2))
  rejected = rejected.at[1, 0].set(1.0)
  # Ideal points 3 and 2: margins 3 - 0 and 1 - 2.
  loss, metrics = latent_rewards.pal(chosen, rejected, logits, prototypes)
  np.testing.assert_allclose(loss.value, (0 + 2) / 2, atol=1e-3)
  assert float(metrics["accuracy"].value) == 0.5
  one, _ = latent_rewards.pal(
      chosen, rejected, jnp.array([[5.0], [-5.0]]), prototypes[:1]
  )
  same, _ = latent_rewards.pal(
      chosen, rejected, jnp.zeros((2, 1)), prototypes[:1]
  )
  np.testing.assert_allclose(one.value, same.value)  # K = 1: users are equal


def test_vpl_is_the_mean_loss_plus_the_divergence():
  diff = jnp.array([[0.9, NAN], [0.0, -1.0], [NAN, NAN]])
  mask = ~jnp.isnan(diff)
  posterior = Gaussian(
      jnp.array([[0.5, -1.0], [0.0, 0.0], [9.0, 9.0]]),
      jnp.array([[0.0, -1.0], [0.0, 0.0], [0.0, 0.0]]),
  )
  loss, metrics = latent_rewards.vpl(
      diff, posterior, mask, coefficient=2.0, anneal=0.5
  )
  second = (np.log(2) + np.logaddexp(0, 1.0)) / 2
  expected = (0.341154 + 0.808940 + second) / 2
  np.testing.assert_allclose(loss.value, expected, rtol=1e-5)
  np.testing.assert_allclose(metrics["kl"].value, 0.808940 / 2, rtol=1e-5)
  plain, _ = latent_rewards.vpl(diff, posterior, mask, coefficient=0.0)
  np.testing.assert_allclose(plain.value, (0.341154 + second) / 2, rtol=1e-5)


def density(outputs, y):
  p = 1 / (1 + np.exp(-outputs[0]))
  if y == 0:
    return -np.log1p(-p)
  s = np.log1p(np.exp(outputs[2])) + 1e-3
  z = (np.log(y) - outputs[1]) / s
  return -np.log(p) + np.log(y * s * np.sqrt(2 * np.pi)) + z**2 / 2


def test_optdist_is_the_drawn_expert_and_the_gate():
  outputs = draw(2, (3, 2, 3), 1)
  # Gates so sure that the draw is known; the best expert is found by hand.
  gate = jnp.array([[50.0, -50.0], [-50.0, 50.0], [NAN, NAN]])
  y, mask = jnp.array([0.0, 3.0, NAN]), jnp.array([True, True, False])
  call = lambda *args: latent_rewards.optdist(
      *args, focus=0.0, soft_weight=0.0
  )
  loss, metrics = jax.jit(call)(jax.random.key(3), outputs, gate, y, mask)
  table = [[density(o, t) for o in row]
           for row, t in zip(np.asarray(outputs[:2]), (0.0, 3.0))]
  best = np.argmin(table, -1)
  wrong = 100.0 * (best != [0, 1])  # cross-entropy of a gate that is sure
  expected = np.mean([table[0][0], table[1][1]] + wrong)
  np.testing.assert_allclose(loss.value, expected, rtol=1e-4)
  assert float(metrics["largest"].value) == 0.5


def test_optdist_with_one_expert_is_the_plain_likelihood():
  outputs = draw(2, (4, 1, 3))
  y = jnp.array([0.0, 3.0, 0.0, 0.2])
  run = lambda o: latent_rewards.optdist(
      jax.random.key(3), o, jnp.zeros((4, 1)), y
  )[0].value
  value, slope = jax.jit(jax.value_and_grad(run))(outputs)
  pairs = zip(np.asarray(outputs), np.asarray(y, np.float64))
  expected = [density(o[0], t) for o, t in pairs]
  np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)
  assert np.all(np.isfinite(slope))


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="coefficient must be"):
    latent_rewards.vpl(
        jnp.zeros((1, 1)), Gaussian(jnp.zeros((1, 2)), jnp.zeros((1, 2))),
        coefficient=-1.0,
    )
