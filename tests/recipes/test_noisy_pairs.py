import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import noisy_pairs
from rewardjax.reward_models import spread

NAN = jnp.nan
FIRST = jnp.array([0.5, -1.0, 2.0, NAN, 0.1])
SECOND = jnp.array([-0.3, 1.5, 0.2, NAN, 0.4])
MASK = ~jnp.isnan(FIRST)


def logistic(x):
  return np.log1p(np.exp(-np.asarray(x, np.float64)))


@functools.partial(jax.jit, static_argnames="keep")
def crm(first, second, mask=None, *, keep):
  """Loss, metrics and the slopes of the total."""

  def total(first, second):
    loss, metrics = noisy_pairs.crm(first, second, mask, keep=keep)
    return loss.total, (loss, metrics)

  slopes, out = jax.grad(total, (0, 1), has_aux=True)(first, second)
  return *out, slopes


def test_crm_learns_from_what_the_peer_finds_easy():
  # Half of four: the second model finds pairs 1 and 4 easy, the first 0 and 2.
  loss, metrics, slope = crm(FIRST, SECOND, MASK, keep=0.5)
  expected = logistic(FIRST)[[1, 4]].sum() + logistic(SECOND)[[0, 2]].sum()
  np.testing.assert_allclose(loss.value, expected / 2, rtol=1e-6)
  assert float(metrics["overlap"].value) == 0
  for found, x, kept in zip(slope, (FIRST, SECOND), ([1, 4], [0, 2])):
    want = np.zeros(5)
    want[kept] = -1 / (1 + np.exp(np.asarray(x, np.float64)[kept]))
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_crm_of_everything_is_two_plain_models():
  loss, metrics, _ = crm(FIRST, SECOND, MASK, keep=1.0)
  rows = np.asarray(MASK)
  expected = logistic(FIRST)[rows].mean() + logistic(SECOND)[rows].mean()
  np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
  assert float(metrics["overlap"].value) == 1


def test_identical_models_select_for_themselves():
  loss, metrics, _ = crm(FIRST, FIRST, MASK, keep=0.5)
  expected = logistic(FIRST)[[0, 2]].mean()
  np.testing.assert_allclose(loss.value, 2 * expected, rtol=1e-6)
  assert float(metrics["overlap"].value) == 1


@pytest.mark.parametrize("keep, kept", [(0.5, 3), (0.7, 4), (0.01, 0)])
def test_the_number_kept_is_exact_with_ties(keep, kept):
  loss, *_ = crm(jnp.zeros(7), jnp.zeros(7), keep=keep)
  assert float(loss.weight) == kept


STRENGTH = jnp.array([-2.0, 0.1, 1.0, NAN, 3.0])


def test_secrets_rm_by_hand():
  loss, metrics = noisy_pairs.secrets_rm(
      FIRST, STRENGTH, MASK, flip=0.25, drop=0.25, soften=0.25, smoothing=0.1,
      margin_scale=0.5,
  )
  flipped = logistic(-(0.5 + 1.0))  # margin -1 of the listed difference
  plain = logistic(2.0 - 0.5)
  z = 0.1 - 1.5
  soft = 0.9 * logistic(z) + 0.1 * logistic(-z)
  expected = (flipped + plain + soft) / 3
  np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
  assert float(metrics["flipped"].value) == 0.25
  assert float(metrics["dropped"].value) == 0.25


def test_secrets_rm_without_shares_is_bradley_terry_plus_contrast():
  views = (jnp.eye(5), jnp.eye(5))

  @jax.jit
  def losses(views):
    args = FIRST, STRENGTH, MASK
    plain, _ = noisy_pairs.secrets_rm(*args)
    both, _ = noisy_pairs.secrets_rm(
        *args, views=views, contrast=0.5, temperature=1.0
    )
    sharp, _ = noisy_pairs.secrets_rm(*args, views=views, temperature=0.01)
    return plain.value, both.value, sharp.value

  plain, both, sharp = losses(views)
  expected = logistic(FIRST)[np.asarray(MASK)].mean()
  np.testing.assert_allclose(plain, expected, rtol=1e-6)
  apart = -1 + np.log(np.e + 3)  # of four real rows
  np.testing.assert_allclose(both, expected + 0.5 * apart, rtol=1e-6)
  np.testing.assert_allclose(sharp, expected, rtol=1e-6)


def linear():
  random = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  x, answers = draw(6, 3), draw(4, 5, 3)
  loss = lambda p: jnp.mean(jax.nn.softplus(-x @ p))
  return loss, (lambda p: answers @ p), jnp.array([0.3, -0.2, 0.5])


def test_meta_gradient_is_taken_at_the_moved_point():
  loss, rewards, p = linear()
  apart = jax.jit(
      jax.vmap(lambda p: jnp.mean(spread.meta_difference(rewards(p))))
  )
  slope = jax.jit(jax.grad(loss))
  step, p = 0.7, np.asarray(p)
  eye = 1e-3 * np.eye(3, dtype=np.float32)
  ends = np.asarray(apart(np.concatenate([p + eye, p - eye])))
  moved = p + step * (ends[:3] - ends[3:]) / 2e-3
  assert np.diff(apart(np.stack([p, moved]))) > 0
  meta = jax.grad(lambda p: loss(
      noisy_pairs.meta_rm_params(rewards, p, step_size=step)
  ))
  actual = jax.jit(meta)(p)
  np.testing.assert_allclose(actual, slope(moved), atol=1e-4)
  assert np.max(np.abs(np.subtract(actual, slope(p)))) > 1e-3


def test_meta_gradient_without_a_step_is_plain():
  loss, rewards, p = linear()
  at = lambda p, step: noisy_pairs.meta_rm_params(rewards, p, step_size=step)
  both = lambda p, step: (
      jax.grad(lambda p: loss(at(p, step)))(p), jax.grad(loss)(p)
  )
  np.testing.assert_array_equal(*jax.jit(both)(p, 0.0))  # step is traced
  with pytest.raises(ValueError, match="step_size must be"):
    at(p, -1.0)
