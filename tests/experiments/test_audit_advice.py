"""Each recommendation, from counts of which it follows."""

import pytest

from configs.rlvr import base
from experiments import audit_verifier, rlvr_config
from rewardjax.noise import precision
from tests.experiments.audit_files import exact, flipped, options

GOOD = {(1, 1): 180, (1, 0): 20, (0, 0): 190, (0, 1): 10}  # J = .85
COIN = {(1, 1): 100, (1, 0): 100, (0, 0): 100, (0, 1): 100}  # J = 0


def advice(tmp_path, rows, **changes):
  given = options(tmp_path, rows, **changes)
  return audit_verifier.audit(given, progress=False).advice


def groups(**cells):
  return [
      row for name, x in cells.items() for row in exact(x, kind=name)
  ]


def text(found):
  return "\n".join(found.reasons)


def test_constant_rates_want_no_correction(tmp_path):
  rows = groups(a=GOOD, b=GOOD, c=GOOD)
  found = advice(tmp_path, rows, group_by="kind")
  assert found.decision == "none"
  assert "p-values 1 for false positives, 1 for false negatives" in text(found)
  assert "Centre and std of the group remove any offset" in text(found)
  # q = .05 + .85 / 2: q (1 - q) / J^2 / .25.
  assert f"{0.475 * 0.525 / 0.85**2 / 0.25:.1f} times" in text(found)
  uncommented = found.config.replace("# config", "config")
  for lines, name in ((found.config, "none"), (uncommented, "backward")):
    config = base.get_config()
    exec(lines, {"config": config})
    rlvr_config.arm_configs(config)
    assert config.correction.name == name
  assert config.correction.false_positive == (0.05,)
  assert config.correction.false_negative == (0.1,)
  assert [row[1] for row in found.table.rows][:3] == ["none", "none", "forward"]


def test_without_groups_constancy_is_an_assumption(tmp_path):
  found = advice(tmp_path, exact(GOOD))
  assert found.decision == "none" and "was not tested" in text(found)


def test_small_groups_are_no_proof(tmp_path):
  few = {(1, 1): 4, (1, 0): 1, (0, 0): 5}
  found = advice(tmp_path, groups(a=GOOD, b=few), group_by="kind")
  assert found.decision == "none" and "J is hardly known on b" in text(found)


def test_a_verifier_that_says_nothing(tmp_path):
  found = advice(tmp_path, exact(COIN))
  assert found.decision == "not_this_verifier" and not found.config
  assert "second one" in text(found) and "opposite" not in text(found)


def test_a_verifier_that_may_say_too_little(tmp_path):
  """J = .25 with an interval that touches the least J."""
  rows = exact({(1, 1): 125, (1, 0): 75, (0, 0): 125, (0, 1): 75})
  assert advice(tmp_path, rows).decision == "not_this_verifier"
  assert advice(tmp_path, rows, min_youden=0.1).decision == "none"


def test_groups_on_which_it_passes_are_named(tmp_path):
  rows = groups(a=GOOD, b=COIN, c=COIN, d=COIN, e=COIN)
  found = advice(tmp_path, rows, group_by="kind")
  assert found.decision == "not_this_verifier"
  assert "It passes on a:" in text(found)


def test_reversed_verdicts(tmp_path):
  rows = exact({(1, 1): 20, (1, 0): 180, (0, 0): 30, (0, 1): 170})
  found = advice(tmp_path, rows)
  assert found.decision == "not_this_verifier"
  assert "verdicts say the opposite" in text(found)


def test_too_few_samples_say_how_many(tmp_path):
  rows = exact({(1, 1): 8, (1, 0): 2, (0, 0): 360, (0, 1): 40})
  found = advice(tmp_path, rows)
  assert found.decision == "more_samples" and len(found.reasons) == 1
  more = precision.samples_needed(0.2, half_width=0.1) - 10
  expected = f"{more} more independent right answers for a half-width of 0.1"
  assert expected in text(found)
  # One in 41 rows is a right answer.
  assert f"some {more * 41} more rows" in text(found)
  wide = advice(tmp_path, rows, half_width=0.3)
  assert wide.decision == "none"


def test_few_samples_suffice_to_reject_a_coin(tmp_path):
  rows = exact({(1, 1): 2, (1, 0): 38, (0, 0): 2, (0, 1): 38})
  found = advice(tmp_path, rows, half_width=0.01)
  assert found.decision == "not_this_verifier"


def test_rates_that_drift_want_appeals(tmp_path):
  early = [row | dict(step=1) for row in flipped({"a": (0.05, 0.1)})]
  late = [row | dict(step=9) for row in flipped({"a": (0.05, 0.5)}, seed=1)]
  rows = early + late
  found = advice(tmp_path, rows, drift_by="step")
  assert found.decision == "appeals"
  assert "False negatives change along 'step'" in text(found)
  config = base.get_config()
  exec(found.config, {"config": config})
  rlvr_config.arm_configs(config)
  assert config.correction.rates == "appeals"


def test_groups_that_are_small_or_doubtful_are_named(tmp_path):
  bad = {(1, 1): 40, (1, 0): 160, (0, 0): 190, (0, 1): 10}  # J = .15
  few = {(1, 0): 2, (0, 0): 50}
  poor = {(1, 1): 6, (1, 0): 14, (0, 0): 19, (0, 1): 1}  # J = .25
  rows = groups(a=GOOD, b=bad, c=few, d=poor)
  found = advice(tmp_path, rows, group_by="kind")
  assert found.decision == "per_group"
  assert "samples of a class speak of c" in text(found)
  assert "J is 0.2 or less on b:" in text(found)
  assert "is above 0.2 is not sure on d." in text(found)
  config = base.get_config()
  exec(found.config, {"config": config})
  overall = (20 + 160 + 2 + 14) / 422
  rates = config.correction.false_negative
  assert rates == pytest.approx((0.1, 0.8, overall, 0.7), abs=1e-4)
  assert "('a', 'b', 'c', 'd')" in found.config
  assert all("backward" in row[1] for row in found.table.rows)
