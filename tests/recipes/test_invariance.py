import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rewardjax.advantages import off_policy
from rewardjax.core import masking
from tests.recipes import batches, cases

every_recipe = pytest.mark.parametrize("name", cases.CASES)


def _total_and_slope(call, log_probs):
  def total(log_probs):
    loss, metrics = call(log_probs)
    return loss.total, (loss, metrics)

  (_, out), slope = jax.value_and_grad(total, has_aux=True)(log_probs)
  return out, slope


@functools.partial(jax.jit, static_argnums=0)
def run(name, batch):
  """Loss, metrics and gradient; one program for all batches of a shape."""
  return _total_and_slope(cases.whole(name, batch), batch.log_probs)


@functools.partial(jax.jit, static_argnums=0)
def run_parts(name, batch, parts):
  """The same of each part, its credit made on the whole batch."""
  given = cases.credit_half(name, batch)
  return [
      _total_and_slope(
          cases.loss_half(name, batch, given, rows),
          batches.take(batch.log_probs, rows),
      )
      for rows in parts
  ]


@every_recipe
def test_any_microbatching_is_the_whole_batch(name):
  """Pain 1 and 2: TRL #3231, #2995, #7206, #7249; #3716, #4935, #5828.

  Credit on the whole batch; then samples in any order, cut anywhere, groups
  cut through; totals, weights and gradients are added and divided once.
  """
  batch = batches.poison(batches.make())
  (loss, metrics), slope = run(name, batch)
  parts = np.split(np.random.default_rng(0).permutation(16), [1, 6])
  outs, of_parts = zip(*run_parts(name, batch, parts))
  added = jax.tree.map(lambda *xs: sum(map(np.asarray, xs)), *outs)
  slopes = np.zeros((16, 1, 6))
  slopes[np.concatenate(parts)] = np.concatenate(of_parts)
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, added, (loss, metrics))
  np.testing.assert_allclose(slopes.reshape(slope.shape), slope, atol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "reinforce_pp", "ppo"])
def test_sharding_changes_nothing(name):
  batch = batches.poison(batches.make())
  mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
  spread = NamedSharding(mesh, PartitionSpec("data"))
  one = run(name, batch)
  four = run(
      name,
      batch._replace(log_probs=jax.device_put(batch.log_probs, spread)),
  )
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, one, four)


@every_recipe
def test_order_of_groups_and_samples_does_not_matter(name):
  batch = batches.make()
  random = np.random.default_rng(1)
  groups, samples = random.permutation(4), random.permutation(4)
  shuffled = batches.Batch(*(x[groups][:, samples] for x in batch))
  (one, _), slope = run(name, batch)
  (other, _), moved = run(name, shuffled)
  np.testing.assert_allclose(one.value, other.value, rtol=1e-5)
  np.testing.assert_allclose(moved, slope[groups][:, samples], atol=1e-6)


@every_recipe
def test_more_padding_changes_nothing(name):
  batch = batches.make()
  pad = lambda x: np.pad(x, [(0, 0), (0, 0), (0, 3)]) if x.ndim == 3 else x
  padded = batches.Batch(*(pad(x) for x in batch))
  padded = batches.poison(padded)
  (one, _), slope = run(name, batch)
  (other, _), moved = run(name, padded)
  np.testing.assert_allclose(one.value, other.value, rtol=1e-5)
  np.testing.assert_allclose(moved[..., :6], slope, atol=1e-6)
  np.testing.assert_array_equal(moved[..., 6:], 0.0)


@every_recipe
def test_an_invalid_sample_is_as_if_it_were_absent(name):
  """Pain 7: TRL #5773, #5775 (an unknown reward biases its siblings)."""
  batch = batches.make()
  # Dropping one known sample per group, or marking it unknown.
  dropped = batches.Batch(*(x[:, 1:] for x in batch))
  valid = batch.valid.copy()
  valid[:, 0] = False
  marked = batches.poison(batch._replace(valid=valid))
  (one, _), slope = run(name, dropped)
  (other, _), moved = run(name, marked)
  if name == "dr_grpo":  # rows of the batch count, whatever the mask
    np.testing.assert_allclose(other.weight, one.weight * 4 / 3)
  else:
    np.testing.assert_array_equal(other.weight, one.weight)
  np.testing.assert_allclose(other.total, one.total, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved[:, 1:], slope, atol=1e-6)
  np.testing.assert_array_equal(moved[:, 0], 0.0)


def test_off_policy_weights_multiply_advantages():
  """TIS: the loss of each token times its weight, under any surrogate here."""
  batch = batches.make()
  random = np.random.default_rng(2)
  sampler = batch.behavior + 0.5 * random.normal(size=batch.behavior.shape)
  weights = off_policy.truncated_weights(
      jnp.asarray(batch.behavior), jnp.asarray(sampler), cap=2.0
  )
  rows = np.arange(16)
  for name in ("grpo", "cispo"):
    given = cases.credit_half(name, batch)
    weighted = given._replace(advantages=given.advantages * weights)
    call = lambda credit, lp, name=name: cases.loss_half(
        name, batch._replace(reference=batch.log_probs), credit, rows
    )(lp)[0]
    log_probs = batches.take(jnp.asarray(batch.log_probs), rows)
    flat = batches.take(weights, rows)
    slope = jax.jit(
        lambda credit, call=call, lp=log_probs: jax.grad(
            lambda x: call(credit, x).total
        )(lp)
    )
    np.testing.assert_allclose(slope(weighted), flat * slope(given), atol=1e-6)


def test_the_loss_is_a_mean_to_be_added():
  batch = batches.make()
  loss, metrics = cases.whole("grpo", batch)(jnp.asarray(batch.log_probs))
  for mean in (loss, *metrics.values()):
    assert isinstance(mean, masking.Mean)
