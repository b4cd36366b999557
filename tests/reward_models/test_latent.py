import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import links
from rewardjax.reward_models import latent
from tests import variants

latent = variants.programs(latent)

NAN = jnp.nan


def test_mixture_weights_by_hand():
  logits = jnp.array([[0.0, 0.0], [np.log(3.0), 0.0]])
  np.testing.assert_allclose(
      latent.mixture_weights(logits), [[0.5, 0.5], [0.75, 0.25]], rtol=1e-6
  )
  cold = latent.mixture_weights(logits, temperature=0.5)
  np.testing.assert_allclose(cold[1], [0.9, 0.1], rtol=1e-5)


def test_one_prototype_is_one_taste():
  prototypes = jnp.array([[1.0, -2.0]])
  weights = latent.mixture_weights(jnp.array([[5.0], [-3.0]]))
  np.testing.assert_allclose(
      latent.ideal_point(weights, prototypes), [[1, -2], [1, -2]]
  )


@variants.every
def test_ideal_point_reward_by_hand(variant):
  items = jnp.array([[[0.2], [-0.5], [NAN]], [[3.0], [NAN], [0.0]]])
  ideals = jnp.array([[[0.0], [0.0], [0.0]], [[1.0], [NAN], [4.0]]])
  mask = jnp.array([[True, True, False], [True, False, True]])
  actual = variant(latent.ideal_point_reward)(items, ideals, mask)
  np.testing.assert_allclose(
      actual, [[-0.2, -0.5, 0], [-2, 0, -4]], atol=1e-6
  )
  margin = actual[0, 0] - actual[0, 1]
  np.testing.assert_allclose(margin, 0.3, atol=1e-6)
  np.testing.assert_allclose(links.hinge(margin), 0.7, atol=1e-6)


def test_rotations_change_no_margin():
  key = jax.random.key(0)
  items, ideals = jax.random.normal(key, (2, 6, 3))
  turn, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (3, 3)))
  a = latent.ideal_point_reward(items, ideals)
  b = latent.ideal_point_reward(items @ turn, ideals @ turn)
  np.testing.assert_allclose(a, b, rtol=1e-5)


def test_ideal_point_gradient_is_finite_at_the_point():
  items = jnp.array([[1.0, 1.0], [4.0, 1.0], [NAN, 0.0]])
  ideals = jnp.ones((3, 2))
  mask = jnp.array([True, True, False])
  slope = variants.grad(
      lambda x: jnp.sum(latent.ideal_point_reward(x, ideals, mask))
  )(items)
  np.testing.assert_allclose(slope, [[0, 0], [-1, 0], [0, 0]], atol=1e-6)


def test_kl_anneal():
  actual = [
      latent.kl_anneal(t, period=100, base=0.1)
      for t in (0, 50, 99.999, 100, 150)
  ]
  np.testing.assert_allclose(actual, [0.1, 0.55, 1.0, 0.1, 0.55], atol=1e-5)
  traced = jax.jit(lambda t: latent.kl_anneal(t, period=100))(jnp.array(50.0))
  np.testing.assert_allclose(traced, 0.55, rtol=1e-5)


def test_latents_have_the_moments_they_were_told():
  mean = jnp.broadcast_to(jnp.array([1.0, -2.0]), (50_000, 2))
  log_variance = jnp.broadcast_to(jnp.array([0.0, -2.0]), (50_000, 2))
  drawn = latent.draw_latent(jax.random.key(0), mean, log_variance)
  np.testing.assert_allclose(jnp.mean(drawn, 0), [1, -2], atol=0.02)
  np.testing.assert_allclose(
      jnp.std(drawn, 0), [1, np.exp(-1)], rtol=0.02
  )
  certain = latent.draw_latent(
      jax.random.key(0), mean[:2], jnp.full((2, 2), -1e3)
  )
  np.testing.assert_allclose(certain, mean[:2])


def test_latents_on_the_sphere():
  mean = jnp.array([[3.0, 4.0], [0.0, 0.0]])
  on = latent.on_sphere(mean)
  np.testing.assert_allclose(
      on, [[3 * np.sqrt(2) / 5, 4 * np.sqrt(2) / 5], [0, 0]], rtol=1e-5
  )
  drawn = latent.draw_latent(
      jax.random.key(0), mean, jnp.zeros((2, 2)), normalize=True
  )
  np.testing.assert_allclose(
      jnp.linalg.norm(drawn, axis=-1), np.sqrt(2), rtol=1e-5
  )
  slope = variants.grad(lambda x: jnp.sum(latent.on_sphere(x)))(mean)
  assert np.all(np.isfinite(slope))


def test_gradient_of_a_draw():
  mean, log_variance = jnp.array([[1.0, 2.0]]), jnp.array([[0.2, -0.4]])
  key = jax.random.key(3)
  draw = lambda m, v: jnp.sum(latent.draw_latent(key, m, v))
  of_mean, of_log = variants.grad(draw, argnums=(0, 1))(mean, log_variance)
  np.testing.assert_allclose(of_mean, 1.0)
  noise = latent.draw_latent(key, mean, log_variance) - mean
  np.testing.assert_allclose(of_log, 0.5 * noise, rtol=1e-5)


def test_win_rates_by_hand():
  rewards = jnp.array([0.0, 1.0, 3.0])
  actual = latent.win_rate_reward(rewards, rewards)
  np.testing.assert_allclose(actual, [0.272122, 0.450087, 0.777790], atol=1e-6)
  padded = latent.win_rate_reward(
      rewards[None],
      jnp.array([NAN, 0.0, 1.0, 3.0]),
      jnp.array([False, True, True, True]),
  )
  np.testing.assert_allclose(padded[0], actual, rtol=1e-6)
  shifted = latent.win_rate_reward(rewards + 7, rewards + 7)
  np.testing.assert_allclose(shifted, actual, rtol=1e-5)


@variants.every
def test_query_information_by_hand(variant):
  log_odds = jnp.array([[400.0, -400.0], [0.7, 0.7]])
  actual = variant(latent.query_information)(log_odds)
  np.testing.assert_allclose(actual, [np.log(2), 0.0], atol=1e-6)


def test_query_information_against_numpy():
  log_odds = jax.random.normal(jax.random.key(0), (5, 7)) * 3
  p = 1 / (1 + np.exp(-np.asarray(log_odds, np.float64)))
  entropy = lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)
  expected = entropy(p.mean(-1)) - entropy(p).mean(-1)
  actual = latent.query_information(log_odds)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
  slope = variants.grad(lambda x: jnp.sum(latent.query_information(x)))(
      jnp.array([400.0, -400.0, 0.0])
  )
  assert np.all(np.isfinite(slope))


def test_names_bad_arguments(no_jaxtyping):
  x = jnp.ones((2, 3))
  with pytest.raises(ValueError, match="mixture_weights: temperature must"):
    latent.mixture_weights(x, temperature=0.0)
  with pytest.raises(ValueError, match="'ideals': \\(3,\\)"):
    latent.ideal_point_reward(x, x[0])
  with pytest.raises(ValueError, match="kl_anneal: base must be in"):
    latent.kl_anneal(0, period=10, base=2.0)
  with pytest.raises(ValueError, match="kl_anneal: period must be in"):
    latent.kl_anneal(0, period=0)
  with pytest.raises(ValueError, match="'log_variance': \\(3,\\)"):
    latent.draw_latent(jax.random.key(0), x, x[0])
  with pytest.raises(ValueError, match="'mask': \\(2,\\)"):
    latent.win_rate_reward(x, x[0], jnp.ones(2, bool))
