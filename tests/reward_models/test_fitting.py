import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rewardjax.core.masking import Mean
from rewardjax.reward_models import fitting

X = jnp.linspace(-1, 1, 12)
DATA = {"x": X, "y": 3 * X - 1}
HELD_OUT = {"x": X, "y": 1.2 * X - 0.2}
START = {"w": jnp.array(0.0), "b": jnp.array(0.5)}


def loss_fn(params, batch, key):
  del key
  error = params["w"] * batch["x"] + params["b"] - batch["y"]
  return Mean.of(jnp.square(error))


fit = functools.partial(
    fitting.fit,
    params=START,
    loss_fn=loss_fn,
    data=DATA,
    optimizer=optax.sgd(0.1),
    num_steps=6,
    batch_size=4,
)


def by_hand(rows, rate=0.1):
  """Plain gradient descent on given rows, in float64."""
  w, b, losses = 0.0, 0.5, []
  x, y = np.asarray(X, np.float64), 3 * np.asarray(X, np.float64) - 1
  for row in np.asarray(rows):
    error = w * x[row] + b - y[row]
    losses.append(np.mean(error**2))
    w -= rate * 2 * np.mean(error * x[row])
    b -= rate * 2 * np.mean(error)
  return w, b, losses


def test_steps_against_numpy():
  key = jax.random.key(0)
  fitted = fit(key)
  rows = fitting.epoch_batches(
      jax.random.split(key)[0], 12, batch_size=4, num_steps=6
  )
  w, b, losses = by_hand(rows)
  np.testing.assert_allclose(fitted.params["w"], w, rtol=1e-4)
  np.testing.assert_allclose(fitted.params["b"], b, rtol=1e-4)
  np.testing.assert_allclose(fitted.losses, losses, rtol=1e-4)


def test_every_epoch_sees_every_row_once():
  rows = fitting.epoch_batches(
      jax.random.key(0), 7, batch_size=3, num_steps=5
  )
  assert rows.shape == (5, 3)
  for epoch in (rows[:2], rows[2:4]):
    assert len(set(np.asarray(epoch).ravel())) == 6
  assert set(np.asarray(rows).ravel()) <= set(range(7))
  assert np.any(np.asarray(rows[:2]) != np.asarray(rows[2:4]))


def test_keeps_what_did_best_on_held_out_rows():
  """What is held out lies on the way from the start to the data."""
  fitted = fit(
      jax.random.key(0), held_out=HELD_OUT, check_every=1, num_steps=40
  )
  assert 0 < int(fitted.best_check) < 39
  assert int(fitted.best_check) == int(jnp.argmin(fitted.held_out))
  again = loss_fn(fitted.params, HELD_OUT, None).value
  np.testing.assert_allclose(again, jnp.min(fitted.held_out), rtol=1e-6)


def test_patience_stops_and_leaves_the_best():
  options = dict(held_out=HELD_OUT, check_every=2, num_steps=40)
  whole = fit(jax.random.key(0), **options)
  stopped = fit(jax.random.key(0), **options, patience=3)
  best = int(whole.best_check)
  ran = np.isfinite(stopped.held_out)
  assert ran.sum() == best + 4 and np.all(ran[: best + 4])
  assert np.isfinite(stopped.losses).sum() == 2 * (best + 4)
  jax.tree.map(np.testing.assert_array_equal, stopped.params, whole.params)


def test_seeds_side_by_side_are_seeds_alone():
  keys = jax.random.split(jax.random.key(3), 3)
  one = functools.partial(
      fit, held_out=HELD_OUT, check_every=3, num_steps=30, patience=2
  )
  together = jax.vmap(one)(keys)
  for i in range(3):
    alone = jax.jit(one)(keys[i])
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x[i], y, rtol=1e-5),  # noqa: B023
        together,
        alone,
    )


def test_the_key_of_the_loss_changes_from_step_to_step():
  noisy = lambda params, batch, key: Mean.of(
      params["w"] * jax.random.normal(key, (1,)) + 0 * params["b"]
  )
  fitted = fit(jax.random.key(0), loss_fn=noisy, optimizer=optax.sgd(1.0))
  assert len(np.unique(np.asarray(fitted.losses))) == 6


def test_a_batch_without_weight_moves_nothing():
  empty = lambda params, batch, key: Mean.of(
      params["w"] * batch["x"] + params["b"], jnp.zeros(4, bool)
  )
  fitted = fit(jax.random.key(0), loss_fn=empty)
  jax.tree.map(np.testing.assert_array_equal, fitted.params, START)
  np.testing.assert_array_equal(fitted.losses, 0.0)


def test_split_rows_parts():
  train, test = fitting.split_rows(jax.random.key(0), DATA, held_out=5)
  assert train["x"].shape == (7,) and test["x"].shape == (5,)
  both = jnp.sort(jnp.concatenate([train["x"], test["x"]]))
  np.testing.assert_array_equal(both, X)
  np.testing.assert_allclose(train["y"], 3 * train["x"] - 1)


def test_names_bad_arguments():
  key = jax.random.key(0)
  with pytest.raises(ValueError, match="num_steps must be a multiple"):
    fit(key, held_out=DATA, check_every=4)
  with pytest.raises(ValueError, match=r"batch_size must be in \[1, 12\]"):
    fit(key, batch_size=13)
  with pytest.raises(ValueError, match="fit: patience must be in"):
    fit(key, held_out=DATA, check_every=3, patience=0)
  with pytest.raises(ValueError, match="split_rows: held_out must be in"):
    fitting.split_rows(key, DATA, held_out=12)
