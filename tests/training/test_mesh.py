import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from rewardjax.models.transformer import Transformer
from rewardjax.training import mesh as meshes
from rewardjax.training.state import init_state


@pytest.mark.parametrize(
    "sizes, expected",
    [
        ((), (8, 1, 1)),
        ((2, 2, 2), (2, 2, 2)),
        ((-1, 4), (2, 4, 1)),
        ((1, -1, 2), (1, 4, 2)),
    ],
)
def test_make_mesh_fills_what_is_left(sizes, expected):
  mesh = meshes.make_mesh(*sizes)
  assert tuple(mesh.shape.values()) == expected
  assert mesh.axis_names == ("data", "fsdp", "tensor")
  assert set(mesh.axis_types) == {AxisType.Auto}


def test_make_mesh_on_fewer_devices():
  assert meshes.make_mesh(devices=jax.devices()[:3]).shape["data"] == 3


@pytest.mark.parametrize(
    "sizes, message",
    [
        ((3, 2, 1), "number of devices, 8, got .*'data': 3, 'fsdp': 2"),
        ((-1, 3), "number of devices, 8"),
        ((-1, -1), "at most one of them -1"),
        ((0,), "must be positive"),
        ((-2,), "must be positive"),
    ],
)
def test_make_mesh_names_sizes_that_do_not_fit(sizes, message):
  with pytest.raises(ValueError, match=message):
    meshes.make_mesh(*sizes)


def specs_of(model, mesh, min_size=1):
  def init():
    tokens = jnp.zeros((1, 4), int)
    params = model.init(jax.random.key(0), tokens, tokens == 0)["params"]
    return init_state(params, optax.adam(1e-3))

  state = jax.eval_shape(init)
  placed = meshes.shardings(
      state, mesh, meshes.shard_rules(), min_size=min_size
  )
  leaves = jax.tree_util.tree_leaves_with_path(placed)
  return {meshes.path_name(path): x.spec for path, x in leaves}


MODEL = dict(
    vocab_size=64, width=16, num_layers=2, num_heads=4, mlp_width=48
)


def test_rules_cover_the_transformer_and_its_moments():
  specs = specs_of(
      Transformer(**MODEL, num_kv_heads=2, tied=False, qkv_bias=True),
      meshes.make_mesh(2, 2, 2),
  )
  layer = "params/layers_1"
  expected = {
      "params/embedding": P(None, ("fsdp", "tensor")),
      "params/unembedding": P(None, ("fsdp", "tensor")),
      f"{layer}/attention/query/kernel": P("fsdp", "tensor"),
      f"{layer}/attention/key/kernel": P("fsdp", "tensor"),
      f"{layer}/attention/value/kernel": P("fsdp", "tensor"),
      f"{layer}/attention/out/kernel": P("tensor", "fsdp"),
      f"{layer}/attention/query/bias": P("fsdp"),
      f"{layer}/mlp/gate/kernel": P("fsdp", "tensor"),
      f"{layer}/mlp/up/kernel": P("fsdp", "tensor"),
      f"{layer}/mlp/down/kernel": P("tensor", "fsdp"),
      "step": P(),
      "opt_state/0/count": P(),
  }
  assert {name: specs[name] for name in expected} == expected
  for name, spec in specs.items():
    if name.startswith("opt_state/0/mu/"):
      assert spec == specs["params/" + name.removeprefix("opt_state/0/mu/")]


def test_rules_fit_stacked_layers():
  mesh = meshes.make_mesh(2, 2, 2)
  name, shape = "params/layers/mlp/gate/kernel", (2, 16, 48)
  spec = meshes.leaf_spec(name, shape, mesh, meshes.shard_rules(), 1)
  assert spec == P(None, "fsdp", "tensor")


def test_what_does_not_divide_or_is_small_stays_whole():
  mesh = meshes.make_mesh(1, 4, 2)
  spec = lambda name, shape, **options: meshes.leaf_spec(
      name, shape, mesh, meshes.shard_rules(), **options
  )
  assert spec("up/kernel", (6, 7), min_size=1) == P()
  assert spec("up/kernel", (8, 7), min_size=1) == P("fsdp")
  assert spec("any", (8, 12, 5), min_size=1) == P(None, "fsdp")
  assert spec("any", (8, 12, 5), min_size=1000) == P()
  assert spec("up/kernel", (), min_size=1) == P()


def test_rules_of_the_caller_come_as_they_are():
  mesh = meshes.make_mesh(2, 2, 2)
  rules = [("table", P(("fsdp", "tensor"))), ("", P("data"))]
  spec = lambda name, shape: meshes.leaf_spec(name, shape, mesh, rules, 1)
  assert spec("my/table", (3, 8)) == P(None, ("fsdp", "tensor"))
  assert spec("other", (4, 6)) == P("fsdp", "data")


def test_shard_tree_places_values_and_keys():
  mesh = meshes.make_mesh(2, 2, 2)
  tree = {"up": {"kernel": jnp.arange(64.0).reshape(8, 8)}}
  tree["key"] = jax.random.key(0)
  placed = meshes.shard_tree(tree, mesh, meshes.shard_rules(), min_size=1)
  kernel = placed["up"]["kernel"]
  assert kernel.sharding.shard_shape((8, 8)) == (4, 4)
  np.testing.assert_array_equal(kernel, tree["up"]["kernel"])
  assert placed["key"].sharding.is_fully_replicated


def test_shard_batch_splits_rows_over_data_and_fsdp():
  mesh = meshes.make_mesh(2, 2, 2)
  batch = {"x": np.arange(24).reshape(8, 3)}
  placed = meshes.shard_batch(batch, mesh)["x"]
  assert placed.sharding.shard_shape((8, 3)) == (2, 3)
  stacked = meshes.shard_batch({"x": np.zeros((5, 8, 3))}, mesh, leading=1)
  assert stacked["x"].sharding.shard_shape((5, 8, 3)) == (5, 2, 3)
  with pytest.raises(ValueError, match=r"axis 0 of x must .* = 4, got .*\(6, "):
    meshes.shard_batch({"x": np.zeros((6, 2))}, mesh)
  with pytest.raises(ValueError, match="axis 1 of x"):
    meshes.shard_batch({"x": np.zeros(8)}, mesh, leading=1)
