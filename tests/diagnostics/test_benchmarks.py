import itertools

import numpy as np
import pytest

from rewardjax.diagnostics.benchmarks import arrays, chains, lists, pairs
from rewardjax.types import ScoredRow

NUMBERS = itertools.count()
WIN, LOSS, TIE = (2.0, 1.0), (1.0, 2.0), (1.0, 1.0)


def pair(subset, chosen, rejected, *, group="", name=None):
  name = name or f"{subset}/{next(NUMBERS)}"
  return ScoredRow(name, group, subset, 1, (chosen, rejected))


def test_rewardbench_by_hand():
  rows = [
      pair("math-prm", *WIN),
      pair("math-prm", *TIE),  # strictly higher is right
      pair("hep-go", *LOSS),
      pair("hep-js", *WIN),
      pair("xstest-should-refuse", *WIN),
      pair("xstest-should-respond", *LOSS),
      pair("a new subset", *WIN),
  ]
  found = pairs.rewardbench(rows)
  assert found["subsets"]["math-prm"] == {"score": 0.5, "rows": 2}
  reasoning = (984 * 0.5 + 164 * 0 + 164 * 1) / (984 + 2 * 164)
  safety = 250 / (250 + 154)
  sections = found["sections"]
  assert sections.keys() == {"Safety", "Reasoning"}
  assert sections["Reasoning"]["score"] == pytest.approx(reasoning)
  assert sections["Safety"]["score"] == pytest.approx(safety)
  score = found["overall"]["RewardBench"]["score"]
  assert score == pytest.approx((reasoning + safety) / 2)


def test_every_subset_has_one_section_and_a_count():
  parts = [part for section in pairs.SECTIONS.values() for part in section]
  assert sorted(parts) == sorted(pairs.COUNTS)
  # As many weights as code for the one set of mathematics.
  code = sum(n for name, n in pairs.COUNTS.items() if name.startswith("hep-"))
  assert code == pairs.COUNTS["math-prm"] == 984


def test_scores_that_differ_in_float64_only_are_no_tie():
  row = pair("hep-go", 1.0 + 1e-12, 1.0)
  assert pairs.rewardbench([row])["subsets"]["hep-go"]["score"] == 1


def languages(results):
  return [
      pair("hep-go", *scores, group=name, name=f"{name}/hep-go/{i}")
      for name, found in results.items()
      for i, scores in enumerate(found)
  ]


def test_languages_by_hand():
  a = [WIN, WIN, LOSS, TIE, WIN, LOSS]
  b = [WIN, LOSS, LOSS, TIE, WIN, WIN]
  found = pairs.m_rewardbench(languages({"eng_Latn": a, "xxx": b, "yyy": a}))
  table = found["languages"]
  assert table["xxx"]["score"] == pytest.approx(3 / 6)
  assert table["eng_Latn"]["Reasoning"] == pytest.approx(3 / 6)
  assert table["xxx"]["kappa"] == pytest.approx(0.454545, abs=1e-6)
  assert (table["yyy"]["gap"], table["yyy"]["kappa"]) == (0, 1)
  overall = found["overall"]["M-RewardBench"]
  # Two of six rows differ: (1, 0, 1) and (0, 1, 0), spread sqrt(2) / 3.
  assert overall["inconsistency"] == pytest.approx(2 / 6 * np.sqrt(2) / 3)
  assert overall["score"] == pytest.approx(0.5)


def test_a_language_that_loses_more_has_a_gap():
  found = pairs.m_rewardbench(
      languages({"eng_Latn": [WIN] * 4, "xxx": [WIN, LOSS, TIE, LOSS]})
  )
  assert found["languages"]["xxx"]["gap"] == pytest.approx(0.75)
  assert found["overall"]["M-RewardBench"]["score"] == pytest.approx(0.25)
  alone = pairs.m_rewardbench(languages({"xxx": [WIN, LOSS]}))
  assert "gap" not in alone["languages"]["xxx"]
  assert alone["overall"]["M-RewardBench"] == {"score": 0.5, "inconsistency": 0}


def test_rows_of_no_section_score_the_mean_of_their_subsets():
  """The translation task of M-RewardBench has no sections."""
  rows = [
      row._replace(id=f"{i}", group="deu-eng", subset=subset)
      for i, (subset, row) in enumerate([
          ("easy", pair("easy", *WIN)),
          ("easy", pair("easy", *WIN)),
          ("hard", pair("hard", *LOSS)),
      ])
  ]
  table = pairs.m_rewardbench(rows)["languages"]["deu-eng"]
  assert table == {"score": 0.5, "easy": 1, "hard": 0, "rows": 3}


def test_vl_rewardbench_by_hand():
  rows = [
      pair("vlfeedback", *WIN),
      pair("wildvision-battle", *LOSS),
      pair("povid", *WIN),
      pair("reasoning_tasks", *WIN),
      pair("reasoning_tasks", *TIE),
      pair("reasoning_tasks", *LOSS),
  ]
  found = pairs.vl_rewardbench(rows)
  overall = found["overall"]["VL-RewardBench"]
  assert overall["score"] == pytest.approx(0.5)
  assert overall["macro"] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
  assert found["groups"]["general"] == {"score": 0.5, "rows": 2}
  assert found["sources"]["povid"]["rows"] == 1


def test_mm_rlhf_by_hand():
  """Images ({1, 1}, {1, 0}, {1}): ACC .8, ACC+ 2 / 3."""
  rows = [
      pair("mcq", *WIN, group="a"), pair("mcq", *WIN, group="a"),
      pair("long", *WIN, group="b"), pair("long", *LOSS, group="b"),
      pair("long", *WIN, group="c"),
  ]
  found = pairs.mm_rlhf(rows)
  assert found["overall"]["MM-RLHF-RewardBench"] == {
      "ACC": pytest.approx(0.8), "ACC+": pytest.approx(2 / 3),
      "rows": 5, "images": 3,
  }
  assert found["kinds"]["long"]["ACC+"] == pytest.approx(0.5)


def best_of(subset, *scores):
  return ScoredRow(f"{subset}/{scores}", "", subset, 1, scores)


TIES = [
    ScoredRow("Ties/ref:0", "ref:0", "Ties", 1, (3.0, 1.0, 0.0)),
    ScoredRow("Ties/tied:0", "tied:0", "Ties", 2, (3.0, 2.5, 1.0, 0.0)),
    ScoredRow("Ties/tied:12", "tied:12", "Ties", 2, (2.0, 1.0, 0.5, 0.0)),
    ScoredRow("Ties/ref:12", "ref:12", "Ties", 1, (1.0, 1.5, 0.0)),
]


def test_rewardbench2_by_hand():
  rows = [
      best_of("Math", 4.0, 1.0, 2.0, 3.0),
      best_of("Math", 4.0, 4.0, 2.0, 3.0),
      best_of("Focus", 1.0, 4.0, 2.0, 3.0),
      *TIES,
  ]
  found = lists.rewardbench2(rows)
  assert found["subsets"]["Math"] == {"score": 0.75, "rows": 2}
  assert found["subsets"]["Focus"]["score"] == 0
  ties = found["subsets"]["Ties"]["score"]
  assert ties == pytest.approx(0.650294, abs=1e-6)
  expected = [0.5, 1.0, 0.5, 0.5, 0.029440]
  parts = [found["ties"][name]["score"] for name in (
      "reference_accuracy", "tied_accuracy", "preferred", "preferred_hard",
      "margin",
  )]
  np.testing.assert_allclose(parts, expected, atol=1e-6)
  score = found["overall"]["RewardBench 2"]["score"]
  assert score == pytest.approx((0.75 + 0 + ties) / 3)


def test_ties_against_loops_over_prompts():
  """Random rows, some prompts with but one of both, equal scores among them."""
  draw = np.random.default_rng(0)
  rows, stats = [], {"ref": {}, "tied": {}}
  for prompt in range(30):
    for kind, right in (("ref", 1), ("tied", int(draw.integers(2, 5)))):
      if draw.random() < 0.1:
        continue
      better = np.array([2] * right + [0] * 3)
      scores = (draw.integers(0, 4, right + 3) + better) / 4
      name = f"{kind}:{prompt}"
      rows.append(ScoredRow(name, name, "Ties", right, tuple(scores)))
      low = min(scores[:right])
      gap, spread = low - max(scores[right:]), max(scores[:right]) - low
      stats[kind][prompt] = gap, spread
  both = sorted(stats["ref"].keys() & stats["tied"].keys())
  assert 20 < len(both) < 30
  wins = {k: np.mean([gap > 0 for gap, _ in x.values()])
          for k, x in stats.items()}
  tied, d = np.array([stats["tied"][p] for p in both]).T
  least = np.minimum(tied, [stats["ref"][p][0] for p in both])
  with np.errstate(divide="ignore", invalid="ignore"):
    margin = np.nan_to_num(np.tanh(least / d - 1), nan=0.0)
  expected = (
      0.3 * wins["tied"] + 0.3 * wins["ref"] + 0.2 * np.mean(tied > d)
      + 0.2 * np.mean(least > d) + 0.01 * np.mean(margin)
  )
  found = lists.rewardbench2(rows)["subsets"]["Ties"]["score"]
  assert found == pytest.approx(expected, rel=1e-12)


def test_equal_scores_everywhere():
  rows = [best_of("Math", *[1.0] * 4), best_of("Focus", *[1.0] * 4)]
  found = lists.rewardbench2(rows)
  assert found["overall"]["RewardBench 2"]["score"] == 0.25
  flat = [row._replace(scores=(1.0,) * len(row.scores)) for row in TIES]
  assert lists.rewardbench2(flat)["subsets"]["Ties"]["score"] == 0


def solutions(problem, chosen, *rejected, subject="Algebra"):
  rows = [
      ScoredRow(f"{problem}/{i}", problem, subject, int(i == 0), (x,))
      for i, x in enumerate((chosen, *rejected))
  ]
  return rows[::-1]  # the chosen one need not come first


def test_rewardmath_by_hand():
  rows = solutions("1", 1.0, *[0.9] * 9)
  rows += solutions("2", 1.0, 1.0, 1.0, *[0.0] * 7, subject="Geometry")
  found = lists.rewardmath(rows)
  assert found["overall"]["RewardMATH"] == {
      "score": 0.5, "with ties": 1.0, "MRR": pytest.approx((1 + 1 / 3) / 2),
      "problems": 2,
  }
  assert found["subjects"]["Geometry"]["score"] == 0
  random = np.random.default_rng(0)
  rows = [r for i in range(400) for r in solutions(str(i), *random.random(10))]
  overall = lists.rewardmath(rows)["overall"]["RewardMATH"]
  assert overall["score"] == pytest.approx(0.1, abs=0.05)
  assert overall["MRR"] == pytest.approx(0.292897, abs=0.05)


def test_pairs_of_rewardmath_by_hand():
  pair = lambda problem, i, *scores: ScoredRow(
      f"{problem}/{i}", problem, "Algebra", 1, scores
  )
  # All nine won; seven won, one lost, one tie; none won.
  rows = [pair("1", i, 1.0, 0.0) for i in range(9)]
  rows += [pair("2", i, 1.0, 0.5) for i in range(7)]
  rows += [pair("2", 7, 0.0, 1.0), pair("2", 8, 1.0, 1.0)]
  rows += [pair("3", i, -2.0, -1.0) for i in range(9)]
  found = lists.rewardmath_pairs(rows)["overall"]["RewardMATH"]
  assert found["problems"] == 3
  assert found["score"] == found["with ties"] == pytest.approx(1 / 3)
  # The released rule: chosen wins + 1, rejected 1 if beaten, else 11.
  assert found["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 10) / 3)


def test_a_problem_without_its_chosen_solution_is_named():
  with pytest.raises(ValueError, match="problem '1': .* got 0 and 3"):
    lists.rewardmath(solutions("1", 1.0, 2.0, 3.0, 4.0)[:3])
  with pytest.raises(ValueError, match="problem '2': .* got 1 and 0"):
    lists.rewardmath(solutions("2", 1.0))


def chain(subset, label, *scores):
  right = len(scores) if label < 0 else label
  return ScoredRow(f"{subset}-{label}{scores}", "", subset, right, scores)


def test_process_bench_by_hand():
  rows = [
      chain("math", 1, 0.9, 0.2, 0.1),
      chain("math", 2, 0.9, 0.2, 0.1),  # one too early
      chain("math", -1, 0.9, 0.8),
      chain("gsm8k", 0, 0.1),
      chain("gsm8k", -1, 0.6, 0.4),
      chain("gsm8k", -1, 0.6, 0.7),
  ]
  found = chains.process_bench(rows)
  assert found["subsets"]["math"] == {
      "score": pytest.approx(2 / 3), "erroneous": 0.5, "correct": 1, "rows": 3
  }
  assert found["subsets"]["gsm8k"]["score"] == pytest.approx(2 / 3)
  overall = found["overall"]["ProcessBench"]
  assert overall["score"] == pytest.approx(2 / 3)
  assert overall["best"] >= overall["score"]
  lower = chains.process_bench(rows, threshold=0.3)
  assert lower["subsets"]["gsm8k"]["score"] == 1
  assert chains.process_bench(rows, threshold=0.0)["overall"]["ProcessBench"][
      "score"
  ] == 0


def test_rows_of_different_lengths_are_padded():
  scores, right, mask = arrays.padded(TIES)
  assert scores.shape == (4, 4) and right.tolist() == [1, 2, 2, 1]
  assert mask.sum(-1).tolist() == [3, 4, 4, 3]
