import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from rewardjax.core import random
from rewardjax.core.masking import Mean
from rewardjax.training import mesh as meshes
from rewardjax.training.state import init_state
from rewardjax.training.step import cast_floats, make_train_step
from tests.training import toy

KEY = jax.random.key(7)


def two_steps(step, state, batches):
  metrics = []
  for batch in batches:
    state, values = step(state, batch, KEY)
    metrics.append(jax.device_get(values))
  return jax.device_get(state.params), metrics


def with_jit(sizes):
  def run(**options):
    mesh = meshes.make_mesh(**sizes)
    rules = meshes.shard_rules()
    state = meshes.shard_tree(toy.init(), mesh, rules, min_size=1)
    batches = [meshes.shard_batch(toy.batch(i), mesh) for i in range(2)]
    step = jax.jit(make_train_step(toy.loss_fn, toy.OPTIMIZER, **options))
    return two_steps(step, state, batches)

  return run


def with_shard_map(axis_name, **shard_map_options):
  def run(**options):
    mesh = meshes.make_mesh(2, 4)
    step = make_train_step(
        toy.loss_fn, toy.OPTIMIZER, axis_name=axis_name, **options
    )
    step = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P(), P(axis_name), P()),
        out_specs=P(),
        **shard_map_options,
    )
    batches = [toy.batch(i) for i in range(2)]
    return two_steps(jax.jit(step), toy.init(), batches)

  return run


def with_pmap(**options):
  step = make_train_step(
      toy.loss_fn, toy.OPTIMIZER, axis_name="data", **options
  )
  step = jax.pmap(
      step, axis_name="data", in_axes=(None, 0, None), out_axes=None
  )
  split = lambda x: x.reshape(4, -1, *x.shape[1:])
  batches = [jax.tree.map(split, toy.batch(i)) for i in range(2)]
  return two_steps(step, toy.init(), batches)


WAYS = {
    "data": with_jit(dict(data=8)),
    "fsdp": with_jit(dict(data=1, fsdp=8)),
    "tensor": with_jit(dict(data=1, tensor=8)),
    "all": with_jit(dict(data=2, fsdp=2, tensor=2)),
    "shard_map": with_shard_map(("data", "fsdp")),
    "one_axis": with_shard_map("data"),
    "unchecked": with_shard_map(("data", "fsdp"), check_vma=False),
    "pmap": with_pmap,
}


@pytest.fixture(scope="module")
def whole_batch():
  """By another road: one plain gradient of total / weight, no helpers."""

  @jax.jit
  def step(params, opt_state, batch):
    value = lambda p: toy.loss_fn(p, batch, None)[0].value
    loss, grads = jax.value_and_grad(value)(params)
    updates, opt_state = toy.OPTIMIZER.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss, grads

  (params, opt_state, _), losses = toy.init(), []
  for i in range(2):
    params, opt_state, loss, grads = step(params, opt_state, toy.batch(i))
    squares = sum(np.sum(np.square(g)) for g in jax.tree.leaves(grads))
    losses.append((float(loss), float(np.sqrt(squares))))
  return jax.device_get(params), losses


def assert_same_run(actual, expected):
  (params, metrics), (expected_params, losses) = actual, expected
  for values, (loss, norm) in zip(metrics, losses):
    np.testing.assert_allclose(values["loss"], loss, rtol=2e-6)
    np.testing.assert_allclose(values["grad_norm"], norm, rtol=2e-6)
    assert values["skipped_updates"] == 0
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-7),
      params,
      expected_params,
  )


@pytest.mark.parametrize(
    "way, num_microbatches",
    [(way, 2) for way in WAYS] + [(w, 1) for w in ("all", "shard_map", "pmap")],
)
def test_every_split_gives_the_update_of_the_whole_batch(
    way, num_microbatches, whole_batch
):
  """Pain 1: TRL #3231, #2995, #3021, #3187, #7206, #7249.

  The mask is uneven: a mean of means over parts would differ.
  """
  actual = WAYS[way](num_microbatches=num_microbatches)
  assert_same_run(actual, whole_batch)


@pytest.mark.parametrize("num_microbatches", [1, 2, 4])
def test_microbatches_on_one_device_give_one_update(
    num_microbatches, whole_batch
):
  step = make_train_step(
      toy.loss_fn, toy.OPTIMIZER, num_microbatches=num_microbatches
  )
  batches = [toy.batch(i) for i in range(2)]
  actual = two_steps(jax.jit(step), toy.init(), batches)
  assert_same_run(actual, whole_batch)


def test_a_token_weighs_the_same_wherever_it_is():
  """Pain 1, TRL #7206: 100 tokens at 2.0 and 900 at 0.5 are 0.65."""

  def loss_fn(params, batch, key):
    del key
    return Mean(batch["total"][0] * params["w"], batch["weight"][0]), {}

  optimizer = optax.sgd(1.0)
  state = init_state({"w": jnp.ones(())}, optimizer)
  totals, weights = jnp.array([200.0, 450.0]), jnp.array([100.0, 900.0])
  batch = {"total": totals, "weight": weights}
  step = make_train_step(loss_fn, optimizer, num_microbatches=2)
  state, metrics = jax.jit(step)(state, batch, KEY)
  np.testing.assert_allclose(metrics["loss"], 0.65, rtol=1e-6)
  np.testing.assert_allclose(state.params["w"], 1 - 0.65, rtol=1e-6)


def test_seeds_by_vmap_equal_runs_one_by_one():
  step = make_train_step(toy.loss_fn, toy.OPTIMIZER, num_microbatches=2)
  states = [toy.init(seed) for seed in range(2)]
  stacked = jax.tree.map(lambda *x: np.stack(x), *states)
  mapped = jax.jit(jax.vmap(step, in_axes=(0, None, None)))
  many, metrics = jax.device_get(mapped(stacked, toy.batch(), KEY))
  compiled = jax.jit(step)
  for i, state in enumerate(states):
    one, values = compiled(state, toy.batch(), KEY)
    np.testing.assert_allclose(metrics["loss"][i], values["loss"], rtol=1e-6)
    jax.tree.map(
        lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-5),
        many.params,
        one.params,
    )


@pytest.mark.parametrize("num_microbatches", [1, 2])
def test_a_gradient_that_is_not_finite_is_counted_and_skipped(num_microbatches):
  def loss_fn(params, batch, key):
    loss, metrics = toy.loss_fn(params, batch, key)
    return loss._replace(total=loss.total * batch["factor"][0]), metrics

  step = jax.jit(
      make_train_step(
          loss_fn, optax.adam(0.1), num_microbatches=num_microbatches
      )
  )
  state = init_state(toy.init().params, optax.adam(0.1))
  good = {**toy.batch(), "factor": jnp.ones(toy.ROWS)}
  state, _ = step(state, good, KEY)
  for bad in (jnp.nan, jnp.inf):
    broken = {**good, "factor": jnp.full(toy.ROWS, bad)}
    after, metrics = step(state, broken, KEY)
    assert metrics["skipped_updates"] == 1
    assert not np.isfinite(metrics["grad_norm"])
    assert after.step == state.step + 1
    jax.tree.map(np.testing.assert_array_equal, after[:2], state[:2])
  after, metrics = step(state, good, KEY)
  assert metrics["skipped_updates"] == 0
  assert not np.allclose(after.params["embedding"], state.params["embedding"])


def test_a_skipped_seed_does_not_stop_the_others():
  step = make_train_step(toy.loss_fn, toy.OPTIMIZER)
  states = jax.tree.map(lambda x: np.stack([x, x]), toy.init())
  states.params["embedding"][0] = np.nan
  step = jax.jit(jax.vmap(step, in_axes=(0, None, None)))
  after, metrics = jax.device_get(step(states, toy.batch(), KEY))
  np.testing.assert_array_equal(metrics["skipped_updates"], [1, 0])
  moved = after.params["mlp"]["up"]["kernel"]
  before = states.params["mlp"]["up"]["kernel"]
  np.testing.assert_array_equal(moved[0], before[0])
  assert np.any(moved[1] != before[1])


def test_nothing_valid_gives_loss_and_gradient_zero():
  step = make_train_step(toy.loss_fn, optax.sgd(1.0), num_microbatches=2)
  state = init_state(toy.init().params, optax.sgd(1.0))
  empty = {**toy.batch(), "mask": jnp.zeros((toy.ROWS, toy.LENGTH), bool)}
  after, metrics = jax.jit(step)(state, empty, KEY)
  expected = {"loss": 0, "accuracy": 0, "grad_norm": 0, "skipped_updates": 0}
  assert {k: float(v) for k, v in metrics.items()} == expected
  jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


def test_master_weights_stay_float32_under_bfloat16_compute():
  """Pain 37: verl #4719, #5308. A step of 1e-4 on 1.0 is lost in bfloat16."""
  seen = []

  def loss_fn(params, batch, key):
    del batch, key
    seen.append(params["w"].dtype)
    return Mean.of(params["w"]), {}

  optimizer = optax.sgd(1e-4)
  state = init_state({"w": jnp.ones((1,))}, optimizer)
  step = jax.jit(
      make_train_step(loss_fn, optimizer, compute_dtype=jnp.bfloat16)
  )
  for _ in range(10):
    state, metrics = step(state, None, KEY)
  assert seen == [jnp.bfloat16]
  assert state.params["w"].dtype == jnp.float32
  np.testing.assert_allclose(state.params["w"], 1 - 10 * 1e-4, rtol=1e-6)
  assert jnp.ones((1,), jnp.bfloat16) - jnp.bfloat16(1e-4) == 1  # the trap
  assert metrics["loss"].dtype == jnp.float32


def test_bfloat16_microbatches_accumulate_in_float32():
  def loss_fn(params, batch, key):
    del key
    return Mean.of(batch * params["w"].astype(jnp.float32)), {}

  optimizer = optax.sgd(1.0)
  state = init_state({"w": jnp.zeros(())}, optimizer)
  # In bfloat16 256 + 1 is 256: the sum of the gradients would stick there.
  batch = jnp.ones((512,)).at[0].set(256.0)
  step = make_train_step(
      loss_fn, optimizer, num_microbatches=512, compute_dtype=jnp.bfloat16
  )
  after, _ = jax.jit(step)(state, batch, KEY)
  np.testing.assert_allclose(after.params["w"], -(256 + 511) / 512, rtol=1e-6)


def test_cast_floats_leaves_integers_and_keys():
  tree = {"x": jnp.ones(2), "n": jnp.arange(2), "key": jax.random.key(0)}
  cast = cast_floats(tree, jnp.bfloat16)
  assert cast["x"].dtype == jnp.bfloat16
  assert cast["n"].dtype == tree["n"].dtype
  assert cast["key"].dtype == tree["key"].dtype
  assert cast_floats(tree, None) is tree


def draw_loss(params, batch, key):
  del params
  noise = jax.vmap(jax.random.normal)(random.keys_by_id(key, batch["id"]))
  return Mean.of(0.0 * noise), {"noise": Mean.of(noise**3)}


def test_draws_by_example_id_do_not_depend_on_the_layout():
  batch = {"id": jnp.arange(16)}
  optimizer = optax.sgd(1.0)
  state = init_state({"w": jnp.zeros(())}, optimizer)
  seen = []
  for axis_name, parts in ((None, 1), (None, 4), ("data", 2)):
    step = make_train_step(
        draw_loss,
        optimizer,
        axis_name=axis_name,
        num_microbatches=parts,
        split_key=False,
    )
    if axis_name is not None:
      mesh = meshes.make_mesh(8)
      specs = (P(), P("data"), P())
      step = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=P())
    seen.append(jax.jit(step)(state, batch, KEY)[1]["noise"])
  np.testing.assert_allclose(seen, seen[0] * np.ones(3), rtol=1e-5)


def test_keys_differ_between_steps_devices_and_microbatches():
  """Each of 2 x 4 x 2 draws is another one: the mean of equal ones is not."""

  def loss_fn(params, batch, key):
    del params
    draw = jax.random.uniform(key, batch.shape)
    return Mean.of(0.0 * draw), {
        "first": Mean.of(draw),
        "second": Mean.of(draw**2),
    }

  mesh = meshes.make_mesh(4, devices=jax.devices()[:4])
  optimizer = optax.sgd(1.0)
  state = init_state({"w": jnp.zeros(())}, optimizer)
  step = make_train_step(
      loss_fn, optimizer, axis_name="data", num_microbatches=2
  )
  specs = (P(), P("data"), P())
  step = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=P()))
  seen = []
  for _ in range(2):
    state, metrics = step(state, jnp.zeros(8), KEY)
    assert metrics["second"] - metrics["first"] ** 2 > 1e-3  # not all equal
    seen.append(float(metrics["first"]))
  assert seen[0] != seen[1]


def test_an_optimiser_state_may_hold_keys():
  optimizer = optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1))
  state = init_state(toy.init().params, optimizer)
  step = jax.jit(make_train_step(toy.loss_fn, optimizer))
  after, _ = step(state, toy.batch(), KEY)
  assert after.step == 1


def test_the_step_lowers_for_every_kind_of_device():
  """Pain 45: DDPO in JAX ran on TPUs only. Pain 38: so did Tunix, nearly."""
  step = make_train_step(toy.loss_fn, toy.OPTIMIZER, num_microbatches=2)
  args = toy.init(), toy.batch(), jax.random.key_data(KEY)
  lowered = jax.export.export(
      jax.jit(lambda s, b, k: step(s, b, jax.random.wrap_key_data(k))),
      platforms=["cpu", "cuda", "tpu"],
  )(*args)
  assert lowered.platforms == ("cpu", "cuda", "tpu")


def test_microbatches_bound_the_memory_of_activations():
  """Pain 31: EasyDeL #155, #184, #255 ran out of memory after upgrades."""

  def loss_fn(params, batch, key):
    del key
    x = batch
    for _ in range(4):
      x = jnp.tanh(x @ params["w"])
    return Mean.of(x), {}

  optimizer = optax.sgd(0.1)
  state = init_state({"w": jnp.zeros((32, 32))}, optimizer)
  batch = jnp.zeros((4096, 32))

  def temporary_bytes(parts):
    step = make_train_step(loss_fn, optimizer, num_microbatches=parts)
    compiled = jax.jit(step).lower(state, batch, KEY).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  # One copy of the batch, by rows of microbatches, comes on top.
  assert temporary_bytes(8) < 0.5 * temporary_bytes(1)


def test_errors_name_what_is_wrong(no_jaxtyping):
  step = make_train_step(toy.loss_fn, toy.OPTIMIZER, num_microbatches=3)
  with pytest.raises(ValueError, match=r"batch\['features'\].*got shape \(16"):
    step(toy.init(), toy.batch(), KEY)
  with pytest.raises(ValueError, match="num_microbatches must be in"):
    make_train_step(toy.loss_fn, toy.OPTIMIZER, num_microbatches=0)
  step = make_train_step(toy.loss_fn, toy.OPTIMIZER)
  narrow = init_state({"w": jnp.ones(2, jnp.bfloat16)}, toy.OPTIMIZER)
  with pytest.raises(ValueError, match=r"params\['w'\] must be float32 or"):
    step(narrow, toy.batch(), KEY)
  whole = init_state({"n": jnp.ones(2, int)}, optax.sgd(1.0))
  with pytest.raises(ValueError, match=r"params\['n'\] must be floating"):
    step(whole, toy.batch(), KEY)
  loss_fn = lambda p, b, k: (Mean.of(p["w"]), {"loss": Mean.of(p["w"])})
  state = init_state({"w": jnp.ones(2)}, toy.OPTIMIZER)
  with pytest.raises(ValueError, match=r"not be named \['loss'\]"):
    make_train_step(loss_fn, toy.OPTIMIZER)(state, None, KEY)
