"""The main job, at sizes of seconds: what it writes, and that it is exact."""

import json

import numpy as np
import pytest

from experiments import rlvr, rlvr_config, rlvr_report
from tests.experiments.rlvr_runs import rows_of, small_config

# They share a run.
pytestmark = pytest.mark.xdist_group("rlvr")


def test_standardised_arms_with_constant_rates_learn_the_same(
    tmp_path, data_dir
):
  """The theorem of docs/noise.md, through the whole training program."""
  backward = dict(correction=dict(name="backward"))
  config = small_config(
      num_steps=8,
      noise=dict(false_positive=(0.1,), false_negative=(0.2,)),
      credit=dict(epsilon=1e-9),
      arms=dict(
          raw=dict(credit=dict(estimator="standardized")),
          corrected=dict(credit=dict(estimator="standardized"), **backward),
          raw_centred=dict(),
          centred=backward,
      ),
  )
  summary = rlvr.run(config, tmp_path, data_dir=data_dir, progress=False)
  last = rows_of(tmp_path)[-1]
  same = [f"{arm}/accuracy" for arm in ("raw", "corrected")]
  np.testing.assert_allclose(last[same[0]], last[same[1]], rtol=1e-4)
  # Without the std the step is longer: the check above can fail.
  other = [f"{arm}/accuracy" for arm in ("raw_centred", "centred")]
  assert np.max(np.abs(np.subtract(*(last[x] for x in other)))) > 1e-4
  # What a run leaves behind.
  assert (tmp_path / "report.html").stat().st_size > 10_000
  assert {x.name for x in (tmp_path / "figures").iterdir()} >= {
      "accuracy.png",
      "kinds.png",
  }
  assert json.loads((tmp_path / "config.json").read_text())["num_seeds"] == 2
  assert set(summary.intervals) == set(config.arms)
  # All start from one policy, the warm-up's last, and have risen since.
  rows = rows_of(tmp_path)
  warm = rows_of(tmp_path, "warm_up")[-1]["accuracy"]
  for arm in config.arms:
    np.testing.assert_allclose(rows[0][f"{arm}/accuracy"], warm, rtol=1e-5)
    rise = np.subtract(last[f"{arm}/accuracy"], warm)
    np.testing.assert_allclose(
        summary.rises[arm].mean, np.mean(rise), atol=1e-6
    )
  table = rlvr_report.accuracy_table(summary)
  assert len(table.rows) == 4 and len(table.rows[0]) == len(table.columns)


# Every path that the main config does not take: arms of one run.
MANY = dict(
    text=dict(
        verifier=dict(name="numeric", unparsable="invalid"),
        credit=dict(name="gae", whiten=True),
        reducer="token_mean",
        surrogate=dict(ratio="sequence_mean"),
        regularizer=dict(kl_coefficient=0.05, entropy_coefficient=0.01),
        sampling=dict(max_refills=1),
        updates_per_batch=2,
        num_microbatches=2,
    ),
    # Steps that a model learns to score.
    steps=dict(
        noise=dict(name="none"),
        recipe=dict(name="lare"),
        steps=dict(scorer="returns", every=2, hidden=4, subset=2),
        sampling=dict(max_refills=1),
        updates_per_batch=2,
        num_microbatches=2,
    ),
    # Answers that are searched for: by a paper and by stages, in one program.
    beam=dict(
        noise=dict(name="none"),
        recipe=dict(name="grpo"),
        reward=dict(name="ranks"),
        sampling=dict(search="beam"),
    ),
    beam_by_stages=dict(
        noise=dict(name="none"),
        credit=dict(estimator="standardized"),
        reducer="sequence_mean",
        reward=dict(name="ranks"),
        sampling=dict(search="beam"),
    ),
)


@pytest.fixture(scope="module")
def many(tmp_path_factory, data_dir):
  """One step of all of them, with the report: the last row of each."""
  folder = tmp_path_factory.mktemp("many")
  config = small_config(
      num_steps=1,
      log_every=1,
      checkpoint_every=1,
      warm_up=dict(num_steps=0),
      arms=MANY,
  )
  summary = rlvr.run(config, folder, data_dir=data_dir, progress=False)
  groups = rlvr_config.group_arms(rlvr_config.arm_configs(config))
  assert sorted(map(len, groups)) == [1, 1, 2]
  rows = {}
  for stage in range(len(groups)):
    first, last = rows_of(folder, f"train_{stage}")
    rows |= {k: (first.get(k), v) for k, v in last.items()}
  return summary, rows, folder


def test_text_verifiers_refills_and_a_critic(many):
  last = {k: v for k, (_, v) in many[1].items()}
  assert np.all(np.isfinite(last["text/value_loss"]))
  shares = [v for k, v in last.items() if k.startswith("text/verifier/")]
  np.testing.assert_allclose(np.sum(shares, axis=0), 1.0, rtol=1e-6)
  # An answer that cannot be read is unknown: it is not a wrong one. Refills
  # replace groups after verdicts were counted, so only this is certain.
  known = np.add(last["text/verifier/wrong"], last["text/verifier/correct"])
  assert np.all(known < 1)
  assert np.all(np.asarray(last["text/reward_known"]) < 1)
  assert np.all(np.isfinite(last["text/loss"]))


def test_switches_of_several_arms_in_one_run(many):
  """Each learns in its own way from the same start; one report shows all."""
  summary, rows, folder = many
  assert "steps/steps/loss" in rows
  for name in ("steps", "beam", "beam_by_stages"):
    own = [v for k, v in rows.items() if k.startswith(f"{name}/")]
    assert own and all(np.all(np.isfinite(last)) for _, last in own), name
  before = [rows[f"{name}/accuracy"][0] for name in MANY]
  np.testing.assert_allclose(before, [before[0]] * len(MANY), rtol=1e-5)
  # The paper and its stages are one estimator, for beams too.
  for metric in ("loss", "grad_norm", "accuracy"):
    paper, stages = (
        rows[f"{name}/{metric}"][1] for name in ("beam", "beam_by_stages")
    )
    np.testing.assert_allclose(paper, stages, rtol=2e-4, atol=2e-6)
  assert np.all(np.asarray(rows["beam/grad_norm"][1]) > 0)
  assert set(summary.intervals) == set(MANY)
  page = (folder / "report.html").read_text()
  assert all(name in page for name in MANY)
