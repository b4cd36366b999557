"""A tournament of two recipes, end to end, and the numbers it is made of."""

import numpy as np
import pytest

from configs.tournament import rlvr as committed
from experiments import (
  results,
  rlvr_config,
  rlvr_recipes,
  rlvr_report,
  tournament,
  tournament_page,
  tournament_report,
  tournament_statistics,
)
from experiments.tournament_statistics import IMPROVES, IQM, REACHED
from rewardjax.training.figures import Curve
from tests.experiments.rlvr_runs import rows_of

# Where tests run side by side, those that share the tournament share it.
one_worker = pytest.mark.xdist_group("tournament")


@pytest.fixture(scope="module")
def played(tmp_path_factory, data_dir):
  """The tiny size: its config, its folder and its summary."""
  workdir = tmp_path_factory.mktemp("tournament")
  config = committed.get_config("tiny")
  # Who is never right has nothing to learn from.
  config.task.max_operand = 2
  config.warm_up.update(num_steps=40, batch_size=16)
  summary = tournament.run(config, workdir, data_dir=data_dir, progress=False)
  return config, workdir, summary


@one_worker
def test_it_says_what_the_runs_say(played):
  config, workdir, summary = played
  last = rows_of(workdir)[-1]
  assert set(summary.arms) == {
      (recipe, verifier)
      for recipe in ("grpo", "rloo")
      for verifier in ("clean", "noisy")
  }
  for (recipe, verifier), found in summary.arms.items():
    accuracy = last[f"{recipe}_{verifier}/accuracy"]
    # Of two seeds none is left out.
    np.testing.assert_allclose(found[IQM].mean, np.mean(accuracy), rtol=1e-6)
    np.testing.assert_allclose(found["accuracy"].mean, np.mean(accuracy))
    assert found["accuracy"].n == config.num_seeds
    assert found["pass@4"].mean >= found["accuracy"].mean
    assert found["pass@8"].mean >= found["pass@4"].mean
    assert (IMPROVES in found) == (recipe != "grpo")
  ours, theirs = (last[f"{x}_noisy/accuracy"] for x in ("rloo", "grpo"))
  wins = np.mean([(x > y) + 0.5 * (x == y) for x in ours for y in theirs])
  assert summary.arms["rloo", "noisy"][IMPROVES].mean == wins


@one_worker
def test_the_arms_start_alike_and_noise_tells_them_apart(played):
  _, workdir, summary = played
  names = ("grpo_clean", "grpo_noisy", "rloo_clean")
  curves = {
      name: rlvr_report.read_curves(workdir, f"{name}/") for name in names
  }
  accuracy = [curves[name]["accuracy"].values for name in names]
  for other in accuracy[1:]:
    np.testing.assert_array_equal(accuracy[0][:, 0], other[:, 0])
    assert np.any(accuracy[0][:, -1] != other[:, -1])
  np.testing.assert_array_equal(
      curves["grpo_clean"]["reward"].values,
      curves["grpo_clean"]["true_reward"].values,
  )
  noisy = curves["grpo_noisy"]
  assert np.any(noisy["reward"].values != noisy["true_reward"].values)
  np.testing.assert_allclose(summary.start.mean, np.mean(accuracy[0][:, 0]))


@one_worker
def test_it_writes_a_report_a_result_figures_and_a_page(played, tmp_path):
  config, workdir, summary = played
  assert (workdir / "report.html").stat().st_size > 10_000
  expected = {"tournament_accuracy.png", "tournament_improvement.png"}
  assert {x.name for x in (workdir / "figures").iterdir()} == expected
  tournament_report.write_results(
      tournament.expand(config),
      summary,
      folder=tmp_path,
      figures_to=tmp_path / "figures",
      page=tmp_path / "tournament.md",
  )
  assert {x.name for x in (tmp_path / "figures").iterdir()} == expected
  result = results.load_results(tmp_path)[config.slug]
  assert result.passed == (summary.carried.low > 0)
  names = {row.name for row in result.rows}
  assert names == {"all", *map(", ".join, summary.arms)}
  page = (tmp_path / "tournament.md").read_text()
  assert page == tournament_page.render(result)
  verdict = "**met**" if result.passed else "**not met**"
  assert verdict in page and "## The noisy verifier" in page
  row = summary.arms["rloo", "clean"][IQM]
  assert f"| rloo | {row.mean:.3f} ({row.low:.3f}, {row.high:.3f}) |" in page
  assert result.command in page


@one_worker
def test_the_table_puts_verifiers_side_by_side(played):
  _, _, summary = played
  table = tournament_report.table(summary)
  assert table.columns[:3] == ["recipe", f"{IQM}, clean", f"{IQM}, noisy"]
  assert len(table.rows) == 2
  assert {len(row) for row in table.rows} == {len(table.columns)}
  first, second = tournament_report.order(summary)
  best = summary.arms[first, "clean"][IQM].mean
  assert best >= summary.arms[second, "clean"][IQM].mean


def test_samples_are_censored_at_the_budget():
  """Seed 0 gets there at once, seed 1 at step 20, seed 2 never."""
  values = np.array([[0.9, 0.1, 0.9], [0.1, 0.2, 0.8], [0.0, 0.1, 0.79]])
  curve = Curve([0, 10, 20], values)
  samples, reached = tournament_statistics.samples_to(curve, 0.8, 128)
  np.testing.assert_array_equal(samples, [0, 2560, 2560])
  np.testing.assert_array_equal(reached, [True, True, False])


def test_rank_correlation_by_hand():
  clean, noisy = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
  scores = np.stack([clean, noisy], -1)[None]
  correlation = tournament_statistics.rank_correlation
  np.testing.assert_allclose(correlation(scores), 0.5)
  np.testing.assert_allclose(correlation(scores[..., ::-1] * [1, -1]), -0.5)
  assert correlation(scores[:, :1]) == 0 and correlation(scores * [1, 0]) == 0


def synthetic(noisy):
  """Curves of three recipes: clean accuracies rise with their number."""
  config = committed.get_config("tiny")
  config.tournament.recipes = ("grpo", "rloo", "dapo")
  curve = lambda x: Curve([0, 4], np.array([[0.1, x], [0.1, x + 0.01]]))
  arms = {}
  for i, recipe in enumerate(config.tournament.recipes):
    for verifier, final in (("clean", 0.5 + 0.1 * i), ("noisy", noisy[i])):
      names = ("accuracy", "pass_at_4", "pass_at_8", "entropy")
      arms[recipe, verifier] = dict.fromkeys(names, curve(final))
  return config, arms


@pytest.mark.parametrize(
    "noisy, carried", [((0.2, 0.3, 0.4), 1.0), ((0.4, 0.3, 0.2), -1.0)]
)
def test_the_criterion_can_fail(noisy, carried):
  summary = tournament_statistics.summarize(*synthetic(noisy))
  np.testing.assert_allclose(summary.carried[:3], carried)
  assert tournament_statistics.has_passed(summary) == (carried > 0)
  found = summary.arms["dapo", "noisy"]
  assert found[IMPROVES].mean == float(carried > 0)
  assert found[REACHED].mean == 1.0  # an accuracy of 0.01


def test_scale_takes_more_seeds_and_steps():
  config = committed.get_config()
  config.tournament.scale = 3
  expanded = tournament.expand(config)
  assert expanded.num_seeds == 3 * config.num_seeds
  assert expanded.num_steps == 3 * config.num_steps


def test_the_committed_tournament_is_fair():
  """One budget; only recipes without a ratio make fewer updates."""
  config = tournament.expand(committed.get_config())
  assert set(config.tournament.recipes) == set(rlvr_recipes.RECIPES)
  arms = rlvr_config.arm_configs(config)
  assert len(arms) == 2 * len(rlvr_recipes.RECIPES)
  fewer = {name for name, arm in arms.items() if arm.updates_per_batch == 1}
  assert fewer == {
      f"{recipe}_{verifier}"
      for recipe in ("reinforce", "oreal")
      for verifier in ("clean", "noisy")
  }
  may_differ = ("recipe", "noise", "updates_per_batch")
  rest = [
      {k: v for k, v in arm.to_dict().items() if k not in may_differ}
      for arm in arms.values()
  ]
  assert all(other == rest[0] for other in rest)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(recipes=("grpo", "a2c")), r"tournament\.recipes .*; got 'a2c'"),
        (dict(baseline="ppo"), r"baseline must be one of config\.tournament"),
        (dict(recipes=("grpo", "grpo")), r"recipes must differ"),
        (dict(scale=0), r"tournament\.scale must be in \[1, inf\], got 0"),
        (dict(threshold=2.0), r"tournament\.threshold must be in \[0, 1\]"),
        (dict(num_resamples=0), r"tournament\.num_resamples must be in"),
    ],
)
def test_wrong_values_name_their_field(changes, message):
  config = committed.get_config("tiny")
  config.tournament.update(changes)
  with pytest.raises(ValueError, match=message) as error:
    tournament.expand(config)
  assert "\n" not in str(error.value)


def test_the_committed_page_is_that_of_the_committed_result():
  found = results.load_results()
  assert tournament_page.PAGE.exists() == (tournament_page.SLUG in found)
  if tournament_page.PAGE.exists():
    expected = tournament_page.render(found[tournament_page.SLUG])
    assert tournament_page.PAGE.read_text() == expected
