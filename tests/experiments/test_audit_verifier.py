import json
import math

import numpy as np
import pytest
from absl import flags

from configs.rlvr import base
from experiments import (
    audit_options,
    audit_rates,
    audit_rows,
    audit_verifier,
    readme_results,
    results,
    rlvr_config,
)
from rewardjax.rewards.verifiers import answers as final_answers
from rewardjax.rewards.verifiers import math as math_verifier
from rewardjax.types import NoiseRates, Status
from tests.experiments.audit_files import RATES, exact, flipped, options

CHECKED = results.RESULTS.parent / "audits" / "smollm2_checked.jsonl"


def audit(tmp_path, rows, **changes):
  given = options(tmp_path, rows, **changes)
  return audit_verifier.audit(given, progress=False)


def applied(lines):
  """A config of experiments.rlvr after what the audit says to paste."""
  config = base.get_config()
  exec(lines, {"config": config})
  return config


def test_known_flips_are_found_and_corrected_per_group(tmp_path):
  rows = flipped()
  audited = audit(tmp_path, rows, group_by="group")
  assert [one.name for one in audited.found.groups] == list(RATES)
  for one in audited.found.groups:
    for found, rate in zip(one[3:5], RATES[one.name]):
      assert found.low <= rate <= found.high
      assert found.high - found.low < 0.2
    assert one.youden.low <= 1 - sum(RATES[one.name]) <= one.youden.high
    assert one.right.low <= 0.5 <= one.right.high
  assert audited.advice.decision == "per_group"
  tests = audited.found.equal
  assert all(test.p_value < 1e-6 for test in tests.values())
  config = applied(audited.advice.config)
  config.task.kinds = tuple(RATES)
  rlvr_config.arm_configs(config)  # makes sense to the training
  given = config.correction
  assert (given.name, given.rates) == ("backward", "given")
  expected = np.array(list(RATES.values())).T
  actual = given.false_positive, given.false_negative
  np.testing.assert_allclose(actual, expected, atol=0.08)
  assert config.credit.estimator == "leave_one_out"


def test_rates_by_hand(tmp_path):
  rows = exact({(1, 1): 30, (1, 0): 10, (0, 0): 54, (0, 1): 6})
  rows += [dict(prompt="?", label=None, verdict=1)] * 3
  rows += [dict(prompt="?", label=1, verdict=None)] * 2
  one = audit(tmp_path, rows).found.overall
  assert one.cells.tolist() == [[54, 6], [10, 30]]
  assert one.false_positive.rate == pytest.approx(0.1)
  assert one.false_negative.rate == pytest.approx(0.25)
  assert one.youden.rate == pytest.approx(0.65)
  assert one.right.rate == pytest.approx(0.4)
  assert (one.false_positive.count, one.false_negative.count) == (60, 40)


def test_chances_of_rechecks_are_undone(tmp_path):
  """1000 samples at rates (.1, .3): half of the rejected and a quarter of the
  accepted ones were checked."""
  half, quarter = dict(chance=0.5, weight=2), dict(chance=0.25, weight=4)
  rows = exact({(1, 1): 70, (0, 1): 15}, **quarter)
  rows += exact({(1, 0): 60, (0, 0): 270}, **half)
  naive = audit(tmp_path, rows).found.overall.rates
  np.testing.assert_allclose(naive, [15 / 285, 60 / 130])
  for field in (dict(probability_field="chance"), dict(weight_field="weight")):
    one = audit(tmp_path, rows, **field).found.overall
    np.testing.assert_allclose(one.rates, [0.1, 0.3])
    assert one.right.rate == pytest.approx(0.4)


def test_answers_to_one_prompt_are_dependent(tmp_path):
  rows = exact({(1, 1): 30, (1, 0): 10, (0, 0): 54, (0, 1): 6})
  apart = audit(tmp_path, rows * 4, cluster_by="").found.overall
  together = audit(tmp_path, rows * 4).found.overall
  np.testing.assert_allclose(together.rates, apart.rates)
  assert apart.false_negative.count == 160
  assert together.false_negative.count == pytest.approx(40)


def test_errors_of_the_trusted_side_are_undone(tmp_path):
  """Expected counts at 40 % right, rates (.1, .3), judge (.05, .1)."""
  cells = {}
  for truth, share in ((0, 60_000), (1, 40_000)):
    for judge in (0, 1):
      wrong = (0.05, 0.1)[truth]
      seen = share * (wrong if judge != truth else 1 - wrong)
      for verdict in (0, 1):
        error = (0.1, 0.3)[truth]
        mass = seen * (error if verdict != truth else 1 - error) / 100
        cells[judge, verdict] = cells.get((judge, verdict), 0) + mass
  rows = exact({cell: round(mass) for cell, mass in cells.items()})
  changes = dict(trusted_false_positive=0.05, trusted_false_negative=0.1)
  audited = audit(tmp_path, rows, **changes)
  one = audited.found.overall
  np.testing.assert_allclose(one.rates, [0.1, 0.3], atol=0.01)
  assert one.right.rate == pytest.approx(0.4, abs=0.01)
  naive = audit(tmp_path, rows).found.overall
  for found, plain in zip(one[3:5], naive[3:5]):
    assert found.low < found.rate < found.high
    # What the judge gets wrong makes the rates less certain.
    assert found.high - found.low > plain.high - plain.low


def test_intervals_behind_a_judge_cover():
  """30 audits of 400 rows through both channels; four standard errors."""
  draw, covered = np.random.default_rng(0), []
  judge = NoiseRates(0.05, 0.1)
  for _ in range(30):
    truth = draw.random(400) < 0.5
    flip = lambda at_1, at_0, t=truth: t ^ (
        draw.random(400) < np.where(t, at_1, at_0)
    )
    sample = audit_rates.Sample(
        flip(0.3, 0.1) * 1.0, flip(0.1, 0.05) * 1.0, None, None
    )
    one = audit_rates.measure(sample, trusted_rates=judge).overall
    covered += [
        x.low <= rate <= x.high for x, rate in zip(one[3:5], (0.1, 0.3))
    ]
  assert np.mean(covered) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 60)


def test_groups_behind_a_judge_are_compared(tmp_path):
  changes = dict(trusted_false_positive=0.02, trusted_false_negative=0.02)
  audited = audit(tmp_path, flipped(), group_by="group", **changes)
  assert all(x.p_value < 1e-4 for x in audited.found.equal.values())
  same = flipped(dict.fromkeys("abc", (0.1, 0.2)))
  audited = audit(tmp_path, same, group_by="group", **changes)
  assert all(x.p_value > 0.02 for x in audited.found.equal.values())


def shout(prompts, completions, references):
  """A verifier that fails in every way there is."""
  del prompts, references
  outcomes = {"yes": 1.0, "no": 0.0, "nan": math.nan}
  return [outcomes[x] for x in completions]


def test_a_verifier_is_run_and_unknown_is_not_wrong(tmp_path):
  said = ["yes", "no", "nan", "boom"] * 2
  rows = [
      dict(prompt=str(i), completion=x, reference="r", label=x == "yes")
      for i, x in enumerate(said)
  ]
  audited = audit(
      tmp_path,
      rows,
      verifier=f"{__name__}:shout",
      chunk_size=1,
      cluster_by="",
  )
  assert audited.observed.counts["crashed"] == 4
  assert np.isnan(audited.observed.labels).sum() == 4
  assert audited.found.overall.cells.tolist() == [[2, 0], [0, 2]]


def test_two_verifiers_and_what_cannot_be_read(tmp_path):
  said = [("7", "7"), ("7.0", "7"), ("8", "7"), ("none", "7"), ("9", "7")]
  rows = [dict(prompt="p", completion=x, reference=y) for x, y in said]
  names = dict(verifier="exact_match", trusted="numeric")
  audited = audit(tmp_path, rows, **names)
  assert audited.found.overall.cells.tolist() == [[2, 0], [1, 1]]
  assert audited.truth.counts["unparsable"] == 1
  changes = names | dict(trusted_unparsable="wrong")
  audited = audit(tmp_path, rows, **changes)
  assert audited.found.overall.cells.tolist() == [[3, 0], [1, 1]]


def test_the_report_shows_everything(tmp_path, capsys):
  rows = flipped()
  rows[0] |= dict(completion="<script>x</script>", label=1, verdict=0)
  rows += rows[:2]
  given = options(tmp_path, rows, group_by="group", drift_by="step")
  run, kept = tmp_path / "run", tmp_path / "results"
  audited = audit_verifier.run(given, run, kept)
  page = (run / "report.html").read_text()
  assert page.count("data:image/png;base64,") == 2
  assert {x.name for x in (run / "figures").glob("*.png")} == {
      "rates.png", "verdicts.png"
  }
  assert "&lt;script&gt;x" in page and "<script>" not in page
  assert "2 rows repeat another one" in page
  lines = (run / "disagreements.jsonl").read_text().splitlines()
  errors = [json.loads(line) for line in lines]
  wrong = sum(row["label"] != row["verdict"] for row in rows)
  assert f"{wrong} disagreements; at most 20" in page and len(errors) == wrong
  assert errors[0]["place"].endswith("answers.jsonl:1")
  assert errors[0]["error"] == "false_negative"
  summary = json.loads((run / "summary.json").read_text())
  assert summary["decision"] == "per_group"
  assert summary["groups"]["gcd"]["false_positive"]["rate"] == pytest.approx(
      audited.found.groups[2].false_positive.rate, abs=1e-6
  )
  shown = capsys.readouterr().out
  assert "false positives" in shown and audited.advice.headline in shown
  assert audited.advice.config in shown
  result = results.load_results(kept)["verifier_audit"]
  assert result.unit == "rows" and result.passed is None
  assert len(result.rows) == 4 * (1 + len(RATES))
  table = readme_results.table(result)
  assert "| group | right answers | false positives |" in table
  assert "1202 rows." in table and "Criterion" not in table


def test_unknown_rates_are_not_zero(tmp_path):
  """Where every answer is right nothing is known of false positives."""
  rows = exact({(1, 1): 80, (1, 0): 20})
  given = options(tmp_path, rows)
  audited = audit_verifier.run(given, tmp_path / "run", tmp_path, show=False)
  assert audited.advice.decision == "more_samples"
  assert "so far none was checked" in audited.advice.reasons[0]
  summary = json.loads((tmp_path / "run" / "summary.json").read_text())
  found = summary["groups"]["all"]
  assert found["false_positive"] == dict(rate=None, low=0, high=1, count=0)
  assert found["youden"]["rate"] is None
  page = (tmp_path / "run" / "report.html").read_text()
  assert "unknown" in page and "nan" not in page.split("<figure>")[0]
  metrics = {
      x.metric for x in results.load_results(tmp_path)["verifier_audit"].rows
  }
  assert metrics == {"right answers", "false negatives"}


def test_equal_rows_can_be_dropped(tmp_path):
  rows = exact({(1, 1): 3, (0, 0): 3}) * 2
  assert audit(tmp_path, rows).answers.duplicates == 6
  dropped = audit(tmp_path, rows, drop_duplicates=True)
  assert dropped.answers.duplicates == 6
  assert dropped.found.overall.cells.sum() == 6


ROW = dict(prompt="p", completion="1", reference="1", label=1, verdict=1)


@pytest.mark.parametrize(
    "rows, changes, message",
    [
        ([], {}, "answers.jsonl: no row"),
        ([ROW, {"prompt": "p"}], {}, r"jsonl:2: column 'verdict' is missing"),
        ([ROW], dict(group_by="kind"), r"jsonl:1: column 'kind' is missing"),
        ([ROW], dict(verifier="nope"), "'nope' is missing, and no verifier"),
        ([ROW], dict(verifier="no.such:f"), "a verifier must be package"),
        ([ROW | dict(label=2)], {}, "'label' must be true, false.*got 2"),
        ([ROW | dict(label="1")], {}, "'label' must be true.*got '1'"),
        ([ROW | dict(verdict=0.5)], {}, "'verdict' must be true.*got 0.5"),
        (
            [ROW | dict(p=0)],
            dict(probability_field="p"),
            r"'p' must be a chance in \(0, 1\], got 0",
        ),
        (
            [ROW | dict(w=-1)],
            dict(weight_field="w"),
            "'w' must be a positive number, got -1",
        ),
        (
            [ROW | dict(completion=None)],
            dict(verifier="numeric"),
            "'completion' must be text, got None",
        ),
        ([ROW | dict(t="x")], dict(drift_by="t"), "'t' must be a number"),
        ([ROW], dict(level=1.0), r"level must be in \(0, 1\), got 1.0"),
        ([ROW], dict(unparsable="right"), "unparsable must be one of unknown"),
        (
            [ROW],
            dict(trusted_false_positive=0.5, trusted_false_negative=0.5),
            "must be below 1",
        ),
        (
            [ROW],
            dict(weight_field="w", probability_field="p"),
            "not both",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, rows, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    audit(tmp_path, rows, **changes)
  assert "\n" not in str(error.value)


def test_stretches_hold_equally_many_rows():
  ids = audit_rows.bins([float(x) for x in range(100)])
  np.testing.assert_array_equal(np.bincount(ids), [25, 25, 25, 25])
  assert audit_rows.bins([3.0] * 8).tolist() == [0] * 8


def test_the_command_is_told_by_its_flags():
  given = audit_options.Options("a b.jsonl", level=0.9, jailed=True)
  assert audit_options.command(given) == (
      "python -m experiments.audit_verifier '--answers=a b.jsonl' --level=0.9 "
      "--jailed --write_results"
  )


def test_flags_have_the_defaults_of_the_options():
  values = flags.FlagValues()
  audit_options.define_flags(values)
  values(["audit_verifier", "--answers=x", "--nodrop_duplicates"])
  assert audit_options.from_flags(values) == audit_options.Options("x")


def test_the_page_tells_what_the_checked_answers_say():
  """The counts in docs/noise.md, "Measured on a real model"."""
  pytest.importorskip("math_verify")
  rows = [json.loads(x) for x in CHECKED.read_text().splitlines()]
  columns = [
      [row[name] for row in rows]
      for name in ("prompt", "completion", "reference")
  ]
  accepts = lambda verdicts: np.array(
      [x.status == Status.CORRECT for x in verdicts]
  )
  strict = accepts(final_answers.strict(*columns, ends_with=True))
  loose = accepts(math_verifier.math_verify(*columns))
  right = np.array([row["label"] for row in rows])
  sampled = np.array([row["chance"] for row in rows]) < 1
  np.testing.assert_array_equal(sampled, ~(strict | loose))
  assert (np.sum(~sampled), np.sum(sampled)) == (287, 64)
  assert not right[sampled].any()
  differ = strict != loose
  found = [np.sum(x) for x in (differ, differ & (loose == right))]
  assert found == [226, 100]
  both = strict & loose
  assert (np.sum(both), np.sum(both & ~right)) == (61, 6)
