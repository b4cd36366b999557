"""A pretrained model in the main job: a tiny random one, read from a file."""

import chex
import jax
import numpy as np
import pytest

from experiments import (
    rlvr_agents,
    rlvr_evaluation,
    rlvr_programs,
    rlvr_report,
    tasks,
)
from tests.experiments import killed_runs
from tests.experiments.rlvr_runs import TOKENS, pretrained_config

# One worker makes the runs that these tests share.
pytestmark = pytest.mark.xdist_group("pretrained")


def assert_close(actual, expected):
  chex.assert_trees_all_close(actual, expected, rtol=2e-4, atol=2e-5)


def test_adapters_start_at_their_reference_and_learn(adapted):
  rows, workdir = adapted
  assert [row["step"] for row in rows] == [0, 1, 2]
  assert set(rows[0]) == {
      "step",
      "arm/accuracy",
      "arm/accuracy/add",
      "arm/accuracy/subtract",
  }
  np.testing.assert_array_equal(rows[1]["arm/reference_kl"], 0)
  assert np.all(np.asarray(rows[2]["arm/reference_kl"]) > 1e-3)
  # All seeds are the base at the start; it judges greedily or by one key.
  assert len(set(rows[0]["arm/accuracy"])) == 1
  figures = {x.stem for x in (workdir / "figures").iterdir()}
  assert {"accuracy", "rise", "reward", "true_reward"} <= figures


def test_a_checkpoint_of_adapters_does_not_hold_the_model(adapted):
  _, workdir = adapted
  size = lambda folder: sum(
      x.stat().st_size for x in folder.rglob("*") if x.is_file()
  )
  manifest = workdir / "checkpoints/train/step_00000002/manifest/metadata"
  text = manifest.read_text()
  assert "kernel" in text and "embedding" not in text
  assert size(workdir / "checkpoints/train/step_00000002") < 600_000


@pytest.mark.slow
def test_how_it_is_computed_changes_rounding_only(go, adapted):
  """Packed, one agent after the other, on eight devices."""
  rows, _ = go(
      agents="scan",
      sampling=dict(lanes=2, halvings=1),
      mesh=dict(data=2, fsdp=2, tensor=2),
  )
  assert_close(rows, adapted[0])


def test_killed_and_started_again_it_ends_bit_for_bit(go, adapted, tmp_path):
  """Pain 34, with adapters and verifiers in other processes."""
  copy = killed_runs.killed(adapted[1], tmp_path / "run")
  go(copy)  # from the middle
  expected = killed_runs.final_files(adapted[1])
  assert killed_runs.final_files(copy) == expected


def parts_of(checkpoint, data_dir, **changes):
  """Groups and problems `[2, S, B, ...]` of such a run, judged on tokens."""
  config = pretrained_config(checkpoint, **TOKENS, **changes)
  task = tasks.make_task(config, data_dir)
  groups = rlvr_agents.make_groups(config, task.tokenizer)
  batches = task.batches(seed=0, num_seeds=2, batch_size=4)
  pair = next(batches), next(batches)
  return groups, jax.tree.map(lambda *x: np.stack(x), *pair)


@pytest.mark.slow
def test_all_parameters_one_agent_after_the_other(checkpoint, data_dir):
  """Two steps, also packed."""

  def steps(**changes):
    groups, problems = parts_of(
        checkpoint,
        data_dir,
        lora=dict(rank=0),
        optimizer=dict(learning_rate=1e-3),
        **changes,
    )
    setup, learner = groups.setups["train"], groups.meshes.learner
    assert setup.frozen is None
    agents = rlvr_agents.make_agents(setup, learner, groups.start)
    step = rlvr_programs.compile_over(
        setup, learner, rlvr_programs.make_step, shared=True
    )
    rows = []
    for i in range(2):
      agents, row = step(agents, jax.tree.map(lambda x: x[i], problems))  # noqa: B023
      rows.append(row)
    return jax.device_get((rows, agents.train.params))

  expected = steps()
  actual = steps(agents="scan", sampling=dict(lanes=2, halvings=1))
  assert_close(actual, expected)
  first, second = (row["reference_kl"] for row in expected[0])
  assert np.all(first < 1e-10) and np.all(second > 1e-10)


def test_token_verifiers_read_a_pretrained_model_too(judged_by_tokens):
  rows, _ = judged_by_tokens
  assert np.all(np.isfinite(rows[2]["arm/loss"]))
  np.testing.assert_array_equal(rows[1]["arm/reference_kl"], 0)


def test_programs_take_the_model_as_an_argument(checkpoint, data_dir):
  """As constants, its weights would be in the program and in memory twice."""
  groups, chunk = parts_of(checkpoint, data_dir)
  setup = groups.setups["train"]
  agents = rlvr_agents.describe_state(
      setup, groups.meshes.learner, groups.start
  )
  held_out = jax.tree.map(lambda x: x[0, 0], chunk)
  evaluate = rlvr_evaluation.make_evaluate(setup, held_out)
  program = rlvr_programs.make_program(setup, evaluate)
  traced = jax.make_jaxpr(program)(agents, chunk, setup.frozen)
  weights = jax.tree.leaves(setup.frozen)
  smallest = min(x.size for x in weights if x.ndim == 3)  # kernels by layer
  assert max(np.size(x) for x in traced.consts) < smallest


def test_a_single_arm_shows_its_rise(adapted):
  rows, workdir = adapted
  curves = {"arm": rlvr_report.read_curves(workdir, "arm/")}
  config = pretrained_config("")
  summary = rlvr_report.summarize(config, curves)
  before, after = (np.asarray(rows[i]["arm/accuracy"]) for i in (0, 2))
  assert summary.starts["arm"].mean == pytest.approx(np.mean(before))
  assert summary.rises["arm"].mean == pytest.approx(np.mean(after - before))
  half = 12.706 * np.std(after - before, ddof=1) / np.sqrt(2)
  assert summary.rises["arm"].high - summary.rises["arm"].mean == (
      pytest.approx(half, rel=1e-3)
  )
  table = rlvr_report.accuracy_table(summary)
  assert table.columns[:4] == ["arm", "before", "after", "rise"]
  assert "gain" not in table.columns
  metrics = {row.metric for row in rlvr_report.result_rows(summary)}
  assert {"accuracy before training", "gain over the start"} <= metrics


@pytest.mark.parametrize(
    "low, high, passed", [(-9.0, 9.0, True), (5.0, 9.0, False)]
)
def test_a_criterion_may_ask_for_a_rise(adapted, low, high, passed):
  curves = {"arm": rlvr_report.read_curves(adapted[1], "arm/")}
  config = pretrained_config("")
  summary = rlvr_report.summarize(config, curves)
  assert rlvr_report.has_passed(config.criterion, summary) is None
  config.criterion.update(arm="arm", over="start", low=low, high=high)
  assert rlvr_report.has_passed(config.criterion, summary) is passed


@pytest.mark.slow
def test_rewards_without_a_verifier_teach_a_pretrained_model(go):
  """Likelihoods through adapters, votes by number, form, kinds by a bandit."""
  rows, _ = go(
      reward=dict(name="likelihood", debias=True, votes="numbers"),
      beside=dict(
          form=dict(weight=0.1, gate="missed"), majority=dict(weight=0.5)
      ),
      curriculum=dict(name="ucb"),
      sampling=dict(temperature=0.7, halvings=1),
  )
  last = rows[-1]
  for name in ("loss", "beside/form", "beside/majority", "accuracy"):
    assert np.all(np.isfinite(last[f"arm/{name}"]))
  assert np.all(np.asarray(last["arm/reward"]) >= 0)
  assert np.all(np.asarray(last["arm/reference_kl"]) > 0)
