"""Rollouts a fixed number of steps behind, on devices of their own."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.training import asynchronous, loop
from rewardjax.training import mesh as meshes
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter
from rewardjax.training.step import make_train_step
from tests.training import toy

# They share what they compile.
pytestmark = pytest.mark.xdist_group("training.asynchronous")
NUM_STEPS, CHUNK = 12, 2
RULES = meshes.shard_rules()


def sample(params, batch, step):
  """An experience that depends on the sampler's parameters and on the step."""
  key = jax.random.fold_in(jax.random.key(3), step)
  noise = jax.random.normal(key, batch["features"].shape)
  shift = jnp.tanh(params["embedding"])[batch["tokens"]]
  features = batch["features"] + 0.1 * noise + shift
  return {**batch, "features": features}


STEP = make_train_step(toy.loss_fn, toy.OPTIMIZER)


def learn(state, experience):
  return STEP(state, experience, jax.random.key(0))


SAMPLE = jax.jit(sample)
LEARN = jax.jit(learn)


def delayed(num_steps, lag, every=1):
  """The algorithm in plain Python, on one device."""
  batches, states, rows = toy.Counter(), [toy.init()], []
  for step in range(num_steps):
    used = max(step - lag, 0)
    used -= used % every
    experience = SAMPLE(states[used].params, next(batches), step)
    state, metrics = LEARN(states[-1], experience)
    states.append(state)
    rows.append(metrics | {"staleness": step - used})
  return states[-1], rows


@functools.cache
def compiled_learner(mesh=None):
  """Donates its state; one program for all tests on a mesh."""
  return loop.compile_chunk(learn, first_state(mesh))


def first_state(mesh=None):
  if mesh is None:
    return jax.tree.map(jnp.copy, toy.init())  # it will be donated
  return meshes.shard_tree(toy.init(), mesh, RULES, min_size=1)


def setup(num_sampler=4, **options):
  """A program on meshes of their own, its first state, and a `place`."""
  found = asynchronous.split_devices(num_sampler)
  sampler = meshes.make_mesh(devices=found.sampler)
  learner = meshes.make_mesh(-1, 2, devices=found.learner)
  state = first_state(learner)
  homes = meshes.shardings(state.params, sampler, RULES, min_size=1)
  program = asynchronous.make_async_program(
      SAMPLE,
      compiled_learner(learner),
      sampler_sharding=homes,
      learner_sharding=meshes.batch_sharding(learner),
      **options,
  )
  place = lambda x: meshes.shard_batch(x, sampler, leading=1)
  return program, program.init(state), place


def run(program, state, place, num_steps=NUM_STEPS, **options):
  return loop.run_loop(
      program,
      state,
      toy.Counter(),
      num_steps=num_steps,
      chunk=CHUNK,
      place=place,
      progress=False,
      **options,
  )


def alone(lag, every=1):
  """On one device, where nothing is rounded otherwise."""
  program = asynchronous.make_async_program(
      SAMPLE, compiled_learner(), lag=lag, every=every
  )
  return program, program.init(first_state()), lambda x: x


@pytest.mark.parametrize("lag, every", [(0, 1), (1, 1), (3, 1), (3, 2), (0, 4)])
def test_it_is_the_delayed_algorithm_bit_for_bit(lag, every):
  expected, rows = delayed(NUM_STEPS, lag, every)
  program, state, place = alone(lag, every)
  assert len(state.views) == program.num_views
  result = run(program, state, place)
  chex.assert_trees_all_equal(result.state.learner, expected)
  last = [row["staleness"] for row in rows[-CHUNK:]]
  assert result.metrics["staleness"] == np.mean(last)
  assert result.step == NUM_STEPS == int(result.state.learner.step)


def test_lag_0_is_the_synchronous_loop_and_another_lag_is_not():
  state, batches = toy.init(), toy.Counter()
  one = jax.jit(lambda s, b, t: learn(s, sample(s.params, b, t)))
  for step in range(NUM_STEPS):
    state, _ = one(state, next(batches), step)
  read = jax.device_get
  ends = [run(*alone(lag)).state.learner.params for lag in (0, 1)]
  chex.assert_trees_all_close(ends[0], state.params, rtol=1e-5, atol=1e-6)
  apart = jax.tree.map(lambda x, y: np.max(np.abs(x - y)), *map(read, ends))
  assert max(jax.tree.leaves(apart)) > 1e-3


@pytest.mark.parametrize("num_sampler", [0, 4])
def test_meshes_of_their_own_change_nothing_but_rounding(num_sampler):
  program, state, place = setup(num_sampler, lag=2)
  result = run(program, state, place)
  expected, _ = delayed(NUM_STEPS, 2)
  chex.assert_trees_all_close(
      result.state.learner.params, expected.params, rtol=1e-4, atol=1e-5
  )
  on = lambda tree: jax.tree.leaves(tree)[0].sharding.device_set
  found = asynchronous.split_devices(num_sampler)
  assert on(result.state.learner) == set(found.learner)
  for view in result.state.views:
    assert on(view) == set(found.sampler)
  assert result.retraces == 0


def test_stopped_and_resumed_is_never_stopped(tmp_path):
  def go(name, **options):
    program, state, place = setup(lag=3, every=2)
    with Checkpointer(tmp_path / name) as checkpointer:
      writer = MetricsWriter(tmp_path / name, tensorboard=False)
      return run(
          program,
          state,
          place,
          checkpointer=checkpointer,
          writer=writer,
          **options,
      )

  read = lambda name: (tmp_path / name / "metrics.jsonl").read_bytes()
  expected = go("whole")
  for stops_after in (1, 4):
    name, chunks = f"stops_{stops_after}", iter(range(1, 100))
    stopped = go(name, stop=lambda: next(chunks) == stops_after)  # noqa: B023
    assert stopped.stopped and stopped.step == CHUNK * stops_after
    result = go(name)
    chex.assert_trees_all_equal(result.state, expected.state)
    assert read(name) == read("whole")


def test_staleness_is_bounded_by_the_schedule():
  for lag in range(5):
    for every in range(1, 5):
      old = [
          t - asynchronous.version(t, lag=lag, every=every) for t in range(30)
      ]
      assert max(old) == lag + every - 1 and min(old[lag:]) == lag
      assert old[: lag + every] == list(range(lag + every))


def test_devices_are_shared_out_once():
  devices = jax.devices()
  sampler, learner = asynchronous.split_devices(3)
  assert sampler == devices[5:] and learner == devices[:5]
  assert asynchronous.split_devices(0) == (devices, devices)
  for number in (-1, 8, 9):
    with pytest.raises(ValueError, match=f"num_sampler .* 8, got {number}"):
      asynchronous.split_devices(number)


def test_lags_that_make_no_sense_are_named():
  make = lambda **options: asynchronous.make_async_program(
      SAMPLE, LEARN, **options
  )
  with pytest.raises(ValueError, match="lag must be in"):
    make(lag=-1)
  with pytest.raises(ValueError, match="every must be in"):
    make(lag=0, every=0)
