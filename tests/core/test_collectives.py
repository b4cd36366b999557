import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from rewardjax.core import collectives, masking
from rewardjax.core.masking import Mean

DEVICES = 8
# Device i holds i valid entries of its row: the split could not be less even.
X = jnp.arange(64.0).reshape(8, 8) / 7
MASK = jnp.tril(jnp.ones((8, 8), bool), -1)


def over_devices(function, how):
  """Maps `function(replicated, *batch)` over eight devices."""
  if how == "pmap":
    mapped = jax.pmap(
        function, "data", in_axes=(None, 0, 0), out_axes=None
    )
    return lambda w, *batch: mapped(w, *(x[:, None] for x in batch))
  mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
  whole, split = PartitionSpec(), PartitionSpec("data")
  return jax.jit(
      jax.shard_map(
          function,
          mesh=mesh,
          in_specs=(whole, split, split),
          out_specs=whole,
          check_vma=how == "checked",
      )
  )


every_mapping = pytest.mark.parametrize("how", ["checked", "unchecked", "pmap"])


def loss_and_gradient(w, x, mask, axis_name=None):
  """The pattern of a train step: local totals, one sum, one division."""
  w = collectives.device_local(w, axis_name)

  def total(w):
    mean = Mean.of(jnp.square(w["scale"] * x + w["shift"]), mask)
    return mean.total, mean

  gradient, mean = jax.grad(total, has_aux=True)(w)
  gradient, mean = collectives.psum((gradient, mean), axis_name)
  divide = lambda g: masking.safe_divide(g, mean.weight)
  return mean.value, jax.tree.map(divide, gradient)


@every_mapping
def test_eight_devices_give_the_loss_and_gradient_of_one(how):
  """Pain 1 (TRL #3021, #3187, #7249): uneven masks over devices."""
  w = {"scale": jnp.asarray(1.5), "shift": jnp.asarray(-0.5)}
  expected = loss_and_gradient(w, X, MASK)
  mapped = functools.partial(loss_and_gradient, axis_name="data")
  actual = over_devices(mapped, how)(w, X, MASK)
  flat = lambda tree: np.array(jax.tree.leaves(tree))
  np.testing.assert_allclose(flat(actual), flat(expected), rtol=1e-6)
  # In closed form: 2 x (1.5 x - 0.5) and 2 (1.5 x - 0.5), averaged.
  x = np.asarray(X, np.float64)[np.asarray(MASK)]
  expected = [np.mean(2 * x * (1.5 * x - 0.5)), np.mean(2 * (1.5 * x - 0.5))]
  np.testing.assert_allclose(flat(actual[1]), expected, rtol=1e-5)


@every_mapping
def test_psum_adds_every_leaf(how):
  function = lambda w, x, mask: collectives.psum(
      {"sum": jnp.sum(x), "count": jnp.sum(mask)}, "data"
  )
  actual = over_devices(function, how)(jnp.zeros(()), X, MASK)
  np.testing.assert_allclose(actual["sum"], np.sum(X), rtol=1e-6)
  assert actual["count"] == 28


def test_without_an_axis_nothing_happens():
  tree = {"a": jnp.ones(3), "b": None}
  assert collectives.psum(tree, None) is tree
  assert collectives.device_local(tree, None) is tree
