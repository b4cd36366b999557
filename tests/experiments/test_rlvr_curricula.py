"""Which kinds come next: chosen in the program, resumed with the run."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.rlvr import base
from experiments import rlvr, rlvr_config, rlvr_curricula, rlvr_report
from experiments.tasks import Problems
from rewardjax.types import Reward
from tests.experiments.rlvr_runs import rows_of, small_config

NAMES = ("add", "subtract", "multiply")


def config_of(**changes):
  config = base.get_config("tiny")
  config.update(changes)
  return next(iter(rlvr_config.arm_configs(config).values()))


def candidates(places):
  """Prompt [place, kind] of each place and kind, place by place."""
  rows = jnp.stack(jnp.meshgrid(jnp.arange(places), jnp.arange(3),
                                indexing="ij"), -1).reshape(-1, 2)  # fmt: skip
  mask = jnp.ones(rows.shape, bool)
  return Problems(rows, mask, rows, mask, rows[:, 1])


def test_a_place_takes_one_of_its_own_candidates():
  config = config_of(curriculum=dict(name="ucb"))
  pick = jax.jit(
      lambda key, state: rlvr_curricula.pick(
          config, key, state, 0, candidates(64)
      )
  )
  state = rlvr_curricula.init(config)
  found = pick(jax.random.key(0), state)
  np.testing.assert_array_equal(found.prompts[:, 0], np.arange(64))
  np.testing.assert_array_equal(found.prompts[:, 1], found.kinds)
  assert set(np.asarray(found.kinds)) == {0, 1, 2}  # a new state is uniform
  # Only kind 1 has groups that differ: nearly all places go to it.
  observed = Reward(
      jnp.tile(jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), (100, 1)),
      jnp.ones((300, 2), bool),
  )
  kinds = jnp.tile(jnp.arange(3), 100)
  state = rlvr_curricula.update(config, state, observed, kinds)
  np.testing.assert_allclose(state.recent[:, :200].T, [[0, 0.5, 0]] * 200)
  np.testing.assert_array_equal(state.counts, [200] * 3)
  found = pick(jax.random.key(0), state)
  assert np.mean(found.kinds == 1) > 0.9


def test_unknown_verdicts_are_not_remembered():
  config = config_of(curriculum=dict(name="ucb"))
  observed = Reward(
      jnp.array([[1.0, jnp.nan], [1.0, 0.0]]),
      jnp.array([[False, False], [True, True]]),
  )
  state = rlvr_curricula.update(
      config, rlvr_curricula.init(config), observed, jnp.array([0, 2])
  )
  np.testing.assert_array_equal(state.counts, [0, 0, 2])
  assert np.all(np.isfinite(state.recent))


def test_stages_unlock_kinds_in_their_order():
  config = config_of(
      curriculum=dict(name="stages", boundaries=(10, 20)),
      task=dict(kinds=NAMES),
  )
  for step, expected in ((0, [1, 0, 0]), (10, [0.5, 0.5, 0]), (99, [1] * 3)):
    weights = rlvr_curricula.weights(config, (), jnp.array(step))
    np.testing.assert_allclose(weights, np.array(expected) / sum(expected))
  found = rlvr_curricula.pick(
      config, jax.random.key(1), (), jnp.array(5), candidates(16)
  )
  np.testing.assert_array_equal(found.kinds, 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(curriculum=dict(name="dump")),
            r"config\.curriculum\.name must be one of none, ucb, stages",
        ),
        (
            dict(curriculum=dict(name="stages", boundaries=(5,))),
            r"config\.curriculum\.boundaries must rise, one for each of",
        ),
        (
            dict(curriculum=dict(name="stages", boundaries=(5, 5))),
            r"config\.curriculum\.boundaries must rise",
        ),
        (
            dict(curriculum=dict(temperature=0.0)),
            r"curriculum\.temperature must be in \(0",
        ),
        (
            dict(curriculum=dict(name="ucb"), task=dict(rewording="swapped")),
            r"config\.curriculum\.name must be 'none' with config\.task\.rewo",
        ),
    ],
)
def test_wrong_values_name_their_field(changes, message):
  with pytest.raises(ValueError, match=message):
    config_of(**changes)


def test_killed_and_resumed_a_curriculum_ends_bit_for_bit(
    tmp_path, data_dir, monkeypatch
):
  """Pain 34: the bandit's memory and the position of every kind; tokens only.

  Rewards without a verifier ride along: one program holds all of it.
  """
  monkeypatch.setattr(rlvr_report, "write", lambda *args, **options: None)
  config = small_config(
      num_steps=3,
      log_every=1,
      checkpoint_every=1,
      noise=dict(name="none"),
      curriculum=dict(name="ucb", window=8),
      reward=dict(name="likelihood", debias=True),
      beside=dict(majority=dict(weight=0.5), format=dict(weight=0.1)),
      shaping=dict(combine="normalized"),
      credit=dict(estimator="none"),
      warm_up=dict(num_steps=0),
      arms=dict(arm=dict()),
  )
  run = lambda folder: rlvr.run(
      config, folder, data_dir=data_dir, progress=False
  )
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  run(whole)
  # Killed when the row of the last step was written, but not its state.
  shutil.copytree(whole, parts)
  saved = parts / "checkpoints/train"
  shutil.rmtree(saved / "step_00000003")
  run(parts)
  for name in (
      "metrics.jsonl",
      "checkpoints/train/step_00000003/manifest/metadata",
  ):
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
  last = rows_of(whole)[-1]
  shares = [last[f"arm/curriculum/{name}"] for name in ("add", "subtract")]
  np.testing.assert_allclose(np.sum(shares, axis=0), 1)
  for name in ("loss", "beside/majority", "beside/format", "accuracy"):
    assert np.all(np.isfinite(last[f"arm/{name}"]))
