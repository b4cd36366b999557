"""The main job, at sizes of seconds: what it writes, and that it is exact."""

import json

import numpy as np

from experiments import rlvr, rlvr_report
from tests.experiments.rlvr_runs import rows_of, small_config


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


def test_text_verifiers_refills_and_a_critic(tmp_path, data_dir):
  """Every path that the main config does not take, in one run."""
  config = small_config(
      verifier=dict(name="numeric", unparsable="invalid"),
      sampling=dict(max_refills=1),
      regularizer=dict(kl_coefficient=0.05, entropy_coefficient=0.01),
      updates_per_batch=2,
      num_microbatches=2,
      warm_up=dict(num_steps=0),
      arms=dict(
          critic=dict(
              credit=dict(name="gae", whiten=True),
              reducer="token_mean",
              verifier=dict(name="tokens"),
          ),
          text=dict(surrogate=dict(ratio="sequence_mean")),
      ),
  )
  rlvr.run(config, tmp_path, data_dir=data_dir, progress=False)
  critic = rows_of(tmp_path, "train_0")[-1]
  text = rows_of(tmp_path, "train_1")[-1]
  assert np.all(np.isfinite(critic["critic/value_loss"]))
  shares = [v for k, v in text.items() if k.startswith("text/verifier/")]
  np.testing.assert_allclose(np.sum(shares, axis=0), 1.0, rtol=1e-6)
  # An answer that cannot be read is unknown: it is not a wrong one.
  known = np.add(text["text/verifier/wrong"], text["text/verifier/correct"])
  assert np.all(np.asarray(text["text/reward_known"]) <= known + 1e-6)
  assert np.all(np.isfinite(text["text/loss"]))
