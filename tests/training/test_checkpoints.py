import shutil
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.training import manifests
from rewardjax.training import mesh as meshes
from rewardjax.training.checkpoints import Checkpointer
from tests.training import toy


class Everything(NamedTuple):
  """One leaf of each kind."""

  keys: jax.Array
  other_keys: jax.Array
  narrow: jax.Array
  empty: jax.Array
  flags: jax.Array
  host: np.ndarray
  number: int
  ratio: float
  done: bool
  scalar: np.float64
  nothing: None = None


def everything(seed=0):
  return Everything(
      keys=jax.random.split(jax.random.key(seed), 3),
      other_keys=jax.random.key(seed, impl="rbg"),
      narrow=jnp.linspace(-seed, 1, 7, dtype=jnp.bfloat16),
      empty=jnp.zeros((0, 4)),
      flags=jnp.arange(5) % 2 == 0,
      host=np.arange(3) + 2**40,
      number=seed + 2**40,
      ratio=0.1 + seed,
      done=True,
      scalar=np.float64(seed) / 3,
  )


def assert_same(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert type(x) is type(y)
    if isinstance(x, jax.Array):
      assert (x.dtype, x.sharding, x.committed) == (
          y.dtype,
          y.sharding,
          y.committed,
      )
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)


def test_any_tree_returns_as_it_was(tmp_path):
  extra = {"cursor": b"\x00\xff", "rows": [1, 2.5, None], "deep": {"a": "b"}}
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(3, everything(3), extra)
    restored = checkpointer.restore(everything(0))
  assert restored.step == 3
  assert_same(restored.tree, everything(3))
  assert restored.extra == extra


def test_a_target_of_shapes_will_do(tmp_path):
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, toy.init(3))
    target = jax.eval_shape(lambda: toy.init(0))
    restored = checkpointer.restore(target).tree
    keys = jax.random.split(jax.random.key(3), 2)
    checkpointer.save(2, {"k": keys})
    target = {"k": jax.ShapeDtypeStruct(keys.shape, keys.dtype)}
    same = checkpointer.restore(target).tree["k"] == keys
  jax.tree.map(np.testing.assert_array_equal, restored, toy.init(3))
  assert np.all(same)


def test_an_empty_directory_restores_nothing(tmp_path):
  with Checkpointer(tmp_path / "new") as checkpointer:
    assert checkpointer.restore(everything()) is None
    assert checkpointer.steps() == []


def test_only_the_newest_stay(tmp_path):
  with Checkpointer(tmp_path, keep=2) as checkpointer:
    for step in (2, 4, 6, 8):
      checkpointer.save(step, {"x": jnp.full(3, step)})
  with Checkpointer(tmp_path, keep=2) as checkpointer:
    assert checkpointer.steps() == [6, 8]
    restored = checkpointer.restore({"x": jnp.zeros(3, int)}, step=6)
    with pytest.raises(ValueError, match=r"of step 2 among \[6, 8\]"):
      checkpointer.restore({"x": jnp.zeros(3, int)}, step=2)
  np.testing.assert_array_equal(restored.tree["x"], [6, 6, 6])


def test_what_is_saved_may_be_donated_and_changed_at_once(tmp_path):
  double = jax.jit(lambda x: 2 * x, donate_argnums=0)
  x, host = jnp.arange(100_000.0), np.zeros(1000)
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, {"x": x, "host": host})
    x = double(x)
    host += 1
    target = {"x": jnp.zeros(100_000), "host": np.zeros(1000)}
    restored = checkpointer.restore(target).tree
  np.testing.assert_array_equal(restored["x"], np.arange(100_000.0))
  np.testing.assert_array_equal(restored["host"], np.zeros(1000))


def placed(state, count):
  devices = jax.devices()[:count]
  sizes = {8: (2, 2, 2), 4: (1, 4, 1), 1: (1, 1, 1)}[count]
  mesh = meshes.make_mesh(*sizes, devices=devices)
  return meshes.shard_tree(state, mesh, meshes.shard_rules(), min_size=1)


def test_restores_onto_other_device_counts(tmp_path):
  """Pain 33: orbax #648, #683, #1904; maxdiffusion #379: 8 -> 1 -> 4."""
  expected = jax.device_get(toy.init(5))
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, placed(toy.init(5), 8))
    for step, count in enumerate((1, 4), start=2):
      target = placed(toy.init(0), count)
      state = checkpointer.restore(target).tree
      jax.tree.map(np.testing.assert_array_equal, state, expected)
      shardings = jax.tree.map(lambda x: x.sharding, state)
      assert shardings == jax.tree.map(lambda x: x.sharding, target)
      checkpointer.save(step, state)


def test_state_of_pmap_resumes(tmp_path):
  """Pain 33: algorithmic-efficiency #816, pmap-sharded state did not."""
  stacked = jax.pmap(lambda i: 10 * i)(jnp.arange(8))
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, {"x": stacked})
    onto_one = checkpointer.restore({"x": jnp.zeros(8, int)}).tree["x"]
    onto_pmap = checkpointer.restore({"x": stacked}).tree["x"]
  np.testing.assert_array_equal(onto_one, 10 * np.arange(8))
  assert onto_pmap.sharding == stacked.sharding


def test_sharded_keys_return(tmp_path):
  mesh = meshes.make_mesh(8)
  keys = jax.random.split(jax.random.key(0), 8)
  keys = jax.device_put(keys, NamedSharding(mesh, P("data")))
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, keys)
    assert_same(checkpointer.restore(keys).tree, keys)


# Ways in which a newest checkpoint has been found broken.


def data_file(path):
  """The largest file: it holds the values."""
  files = [f for f in (path / "tree").rglob("*") if f.is_file()]
  return max(files, key=lambda f: f.stat().st_size)


def truncate(path):
  file = data_file(path)
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_byte(path):
  file = data_file(path)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 0x10
  file.write_bytes(content)


def remove_file(path):
  data_file(path).unlink()


def empty_directory(path):
  shutil.rmtree(path)
  path.mkdir()


def edit_manifest(path):
  file = path / "manifest" / "metadata"
  file.write_text(file.read_text().replace("at 2", "at 9"))


def truncate_manifest(path):
  file = path / "manifest" / "metadata"
  file.write_text(file.read_text()[:40])


DAMAGES = (
    truncate,
    flip_byte,
    remove_file,
    empty_directory,
    edit_manifest,
    truncate_manifest,
)


def values(step):
  rng = np.random.default_rng(step)
  return {"x": jnp.asarray(rng.normal(size=4096), jnp.float32), "n": step}


def save_two(directory):
  with Checkpointer(directory) as checkpointer:
    checkpointer.save(1, values(1), "at 1")
    checkpointer.save(2, values(2), "at 2")
    return checkpointer.path(2)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    damage, tmp_path
):
  """Pain 35: tunix d8959684, 2f1ff1bc."""
  damage(save_two(tmp_path))
  with Checkpointer(tmp_path) as checkpointer:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      restored = checkpointer.restore(values(0))
    messages = [str(w.message) for w in caught]
    assert len(messages) == 1 and str(checkpointer.path(2)) in messages[0]
    assert restored.step == 1 and restored.extra == "at 1"
    assert_same(restored.tree, values(1))
    # The next write clears it away, whatever its step.
    checkpointer.save(3, values(3))
    checkpointer.wait()
    assert checkpointer.steps() == [1, 3]


def test_every_byte_of_the_values_is_covered(tmp_path):
  """Either a flip is noticed, or what is read is what was saved."""
  path = save_two(tmp_path)
  file = data_file(path)
  content = file.read_bytes()
  noticed = 0
  places = np.linspace(0, len(content) - 1, 12).astype(int)
  with Checkpointer(tmp_path) as checkpointer:
    for place in places:
      flipped = bytearray(content)
      flipped[place] ^= 1
      file.write_bytes(flipped)
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        restored = checkpointer.restore(values(0))
      noticed += restored.step == 1
      assert_same(restored.tree, values(restored.step))
  assert noticed >= len(places) // 2


def test_values_that_were_swapped_in_are_noticed(tmp_path):
  """Files that are whole, but of another checkpoint."""
  path = save_two(tmp_path)
  shutil.rmtree(path / "tree")
  shutil.copytree(path.with_name("step_00000001") / "tree", path / "tree")
  with Checkpointer(tmp_path) as checkpointer:
    with pytest.warns(UserWarning, match="does not match its fingerprint"):
      assert checkpointer.restore(values(0)).step == 1


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path):
  remove_file(save_two(tmp_path))
  remove_file(tmp_path / "step_00000001")
  with Checkpointer(tmp_path) as checkpointer:
    with pytest.warns(UserWarning), pytest.raises(
        RuntimeError, match=r"no intact checkpoint in .*steps \[1, 2\]"
    ):
      checkpointer.restore(values(0))


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
  save_two(tmp_path)
  leftover = tmp_path / "step_00000003.orbax-checkpoint-tmp-17"
  leftover.mkdir()
  (leftover / "half").write_text("x")
  with Checkpointer(tmp_path) as checkpointer:
    assert not leftover.exists()
    assert checkpointer.restore(values(0)).step == 2


@pytest.mark.parametrize(
    "target, message",
    [
        (
            {"a": {"b": jnp.zeros(4)}, "c": 0},
            r"\['a'\]\['b'\] \(float32\[3\]\) and the .*\(float32\[4\]\)",
        ),
        (
            {"a": {"b": jnp.zeros(3, int)}, "c": 0},
            r"\['a'\]\['b'\] \(float32\[3\]\) and the .*\(int32\[3\]\)",
        ),
        ({"a": {"b": jnp.zeros(3)}}, r"\['c'\] \(int\[\]\) and .* no leaf"),
        (
            {"a": {"b": jnp.zeros(3), "x": 1.0}, "c": 0},
            r"has \['c'\].*target \['a'\]\['x'\]",
        ),
    ],
)
def test_another_tree_is_refused_by_its_first_path(target, message, tmp_path):
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, {"a": {"b": jnp.zeros(3)}, "c": 5})
    with pytest.raises(ValueError, match=message):
      checkpointer.restore(target)


def test_what_cannot_be_saved_is_named(tmp_path):
  with Checkpointer(tmp_path) as checkpointer:
    with pytest.raises(TypeError, match=r"\['name'\] must be an array.* str"):
      checkpointer.save(1, {"name": "x"})
    with pytest.raises(TypeError, match=r"\['o'\] holds Python objects"):
      checkpointer.save(1, {"o": np.array([object()])})
    with pytest.raises(TypeError, match="extra holds a set"):
      checkpointer.save(1, {"x": jnp.zeros(1)}, {"set": {1}})
  with pytest.raises(ValueError, match="keep must be in"):
    Checkpointer(tmp_path, keep=0)


def test_fingerprints_see_every_bit_and_no_layout():
  x = jnp.arange(24.0).reshape(4, 6)
  mesh = meshes.make_mesh(4, 2)
  spread = jax.device_put(x, NamedSharding(mesh, P("data", "fsdp")))
  swapped = x.at[0, 0].set(x[1, 1]).at[1, 1].set(x[0, 0])
  leaves = [x, spread, x.at[2, 3].add(1e-6), swapped, -x, x.T]
  numbers = manifests.fingerprints(leaves)
  assert numbers[0] == numbers[1]
  assert len(set(numbers[1:])) == len(leaves) - 1
  for dtype in (jnp.bfloat16, jnp.int8, jnp.bool_, jnp.complex64, jnp.uint16):
    one, other = jnp.zeros(9, dtype), (jnp.arange(9) == 8).astype(dtype)
    first, second = manifests.fingerprints([one, other])
    assert first != second
