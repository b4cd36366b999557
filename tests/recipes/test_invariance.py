import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rewardjax.advantages import off_policy
from rewardjax.core import masking
from tests.recipes import batches, cases

# They share what they compile.
pytestmark = pytest.mark.xdist_group("recipes.invariance")
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
  """The same of each row of `parts`, its credit made on the whole batch."""
  given = cases.credit_half(name, batch)
  return jax.vmap(
      lambda rows: _total_and_slope(
          cases.loss_half(name, batch, given, rows),
          batches.take(batch.log_probs, rows),
      )
  )(parts)


@every_recipe
def test_any_microbatching_is_the_whole_batch(name):
  """Pain 1 and 2: TRL #3231, #2995, #7206, #7249; #3716, #4935, #5828.

  Credit on the whole batch; then samples in any order, groups cut through;
  totals, weights and gradients are added and divided once.
  """
  batch = batches.poison(batches.make())
  (loss, metrics), slope = jax.device_get(run(name, batch))
  parts = np.random.default_rng(0).permutation(16).reshape(4, 4)
  outs, of_parts = jax.device_get(run_parts(name, batch, parts))
  slopes = np.zeros((16, 1, 6))
  slopes[parts] = of_parts
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
  jax.tree.map(lambda x, y: close(x.sum(0), y), outs, (loss, metrics))
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
  slope = np.asarray(slope)
  np.testing.assert_allclose(moved, slope[groups][:, samples], atol=1e-6)


@every_recipe
def test_padding_and_invalid_samples_are_as_if_they_were_absent(name):
  """Pain 7: TRL #5773, #5775 (an unknown reward biases its siblings)."""
  batch = batches.make()
  # Dropping one known sample per group and adding slots at the end, or
  # marking it unknown.
  pad = lambda x: np.pad(x, [(0, 0), (0, 0), (0, 3)]) if x.ndim == 3 else x
  dropped = batches.poison(batches.Batch(*(pad(x[:, 1:]) for x in batch)))
  valid = batch.valid.copy()
  valid[:, 0] = False
  marked = batches.poison(batch._replace(valid=valid))
  (one, _), slope = jax.device_get(run(name, dropped))
  (other, _), moved = jax.device_get(run(name, marked))
  if name == "dr_grpo":  # rows of the batch count, whatever the mask
    np.testing.assert_allclose(other.weight, one.weight * 4 / 3)
  else:
    np.testing.assert_array_equal(other.weight, one.weight)
  np.testing.assert_allclose(other.total, one.total, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved[:, 1:], slope[..., :6], atol=1e-6)
  np.testing.assert_array_equal(slope[..., 6:], 0.0)
  np.testing.assert_array_equal(moved[:, 0], 0.0)


@pytest.mark.parametrize("name", ["grpo", "cispo"])
def test_off_policy_weights_multiply_advantages(name):
  """TIS: the loss of each token times its weight, under any surrogate here."""
  batch = batches.make()
  random = np.random.default_rng(2)
  sampler = batch.behavior + 0.5 * random.normal(size=batch.behavior.shape)
  rows = np.arange(16)

  @jax.jit
  def slopes(sampler):
    weights = off_policy.truncated_weights(
        jnp.asarray(batch.behavior), sampler, cap=2.0
    )
    given = cases.credit_half(name, batch)
    anchored = batch._replace(reference=batch.log_probs)

    def slope(advantages):
      credit = given._replace(advantages=advantages)
      loss = cases.loss_half(name, anchored, credit, rows)
      log_probs = batches.take(jnp.asarray(batch.log_probs), rows)
      return jax.grad(lambda x: loss(x)[0].total)(log_probs)

    times = jnp.stack([weights, jnp.ones_like(weights)])
    slopes = jax.vmap(slope)(given.advantages[None] * times)
    return batches.take(weights, rows), slopes

  weights, (weighted, plain) = jax.device_get(slopes(jnp.asarray(sampler)))
  np.testing.assert_allclose(weighted, weights * plain, atol=1e-6)


def test_the_loss_is_a_mean_to_be_added():
  (loss, metrics), _ = run("grpo", batches.make())
  for mean in (loss, *metrics.values()):
    assert isinstance(mean, masking.Mean)
