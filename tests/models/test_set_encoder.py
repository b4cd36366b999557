import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import set_encoder
from tests import variants

NAN = jnp.nan


def encoder(**options):
  """A model with random parameters, biases included, and two sets."""
  model = set_encoder.SetEncoder(hidden=6, latent=3, **options)
  draw = np.random.default_rng(0).normal
  a, b = (jnp.asarray(draw(size=(2, 4, 5)), np.float32) for _ in range(2))
  shapes = jax.eval_shape(model.init, jax.random.key(1), a, b)
  new = lambda x: jnp.asarray(0.7 * draw(size=x.shape), x.dtype)
  return model, jax.tree.map(new, shapes), a, b


@variants.every
def test_against_numpy(variant):
  model, params, a, b = encoder(bound=None)
  mask = jnp.array([[True, True, False, True], [False, True, False, False]])
  hide = lambda x: jnp.where(mask[..., None], x, NAN)
  actual = variant(lambda *x: model.apply(params, *x))(hide(a), hide(b), mask)
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
  dense = lambda name, x: x @ p[name]["kernel"] + p[name].get("bias", 0)
  for row in range(2):
    keep = np.asarray(mask[row])
    x = np.concatenate([a[row], b[row]], -1)[keep].astype(np.float64)
    x = dense("Dense_0", x)
    x = dense("Dense_1", np.where(x > 0, x, 0.01 * x))
    q, k, v = (dense(name, x) for name in ("query", "key", "value"))
    w = np.exp(q @ k.T / np.sqrt(6))
    pooled = (w / w.sum(-1, keepdims=True) @ v).mean(0)
    np.testing.assert_allclose(
        actual.mean[row], dense("mean", pooled), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        actual.log_variance[row],
        dense("log_variance", pooled),
        rtol=1e-4,
        atol=1e-5,
    )


def test_order_and_padding_change_nothing():
  model, params, a, b = encoder()
  a, b = np.asarray(a), np.asarray(b)
  apply = jax.jit(model.apply)
  alone = apply(params, a, b)
  order = np.array([2, 0, 3, 1])
  moved = apply(params, a[:, order], b[:, order])
  pad = lambda x: np.pad(x, [(0, 0), (0, 3), (0, 0)], constant_values=NAN)
  mask = np.arange(7) < np.array([[4], [4]])
  padded = apply(params, pad(a), pad(b), mask)
  for other in (moved, padded):
    np.testing.assert_allclose(alone.mean, other.mean, rtol=1e-4, atol=1e-6)
  swapped = apply(params, b, a)
  assert np.max(np.abs(np.subtract(swapped.mean, alone.mean))) > 1e-2


def test_the_log_variance_is_bounded():
  model, params, a, b = encoder(bound=0.25)
  a, b = 20 * np.asarray(a), 20 * np.asarray(b)
  wide = jax.jit(model.apply)(params, a, b).log_variance
  assert np.max(np.abs(wide)) == 0.25


def test_masked_pairs_carry_no_gradient_and_an_empty_set_is_finite():
  model, params, a, b = encoder()
  mask = jnp.array([[True, False, True, True], [False] * 4])
  hide = lambda x: jnp.where(mask[..., None], x, NAN)

  def total(params, a):
    out = model.apply(params, a, hide(b), mask)
    return jnp.sum(out.mean) + jnp.sum(out.log_variance)

  slopes = jax.jit(jax.grad(total, argnums=(0, 1)))
  of_params, of_a = slopes(params, hide(a))
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(of_params))
  np.testing.assert_array_equal(of_a[~mask], 0.0)
  assert np.any(of_a[0, 0] != 0)


def test_names_bad_arguments(no_jaxtyping):
  model, params, a, b = encoder()
  with pytest.raises(ValueError, match="SetEncoder: expected one common"):
    model.apply(params, a, b[:, :2])
  with pytest.raises(ValueError, match="'mask': \\(2, 3\\)"):
    model.apply(params, a, b, jnp.ones((2, 3), bool))
