import collections
import hashlib
import json

import numpy as np
import pytest

from experiments import evaluate_chains, evaluate_rewards
from experiments.evaluate_options import Options
from rewardjax.data.benchmarks import reading
from rewardjax.types import ScoredRow

SIZES = evaluate_chains.SIZES


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def question(name, gold, answers, **fields):
  size = len(answers)
  return {
      "q_id": name, "question": "Which?", "answer": gold,
      "cot_ids": list(range(size)), "cots": [["Step."]] * size,
      "parsed_answers": answers, **fields,
  }  # fmt: skip


def tables(tmp_path, questions, scores, **options):
  rows = [
      ScoredRow(str(i), "", "", 0, tuple(map(float, x)))
      for i, x in enumerate(scores)
  ]
  path = write(tmp_path / "law.jsonl", questions)
  return evaluate_chains.multi_rm(rows, files=[path], **options)


def released(questions, scores, *, n, runs, seed):
  """The published protocol in plain Python, with its own draws."""
  found = collections.defaultdict(list)
  for run in range(runs):
    for row, rewards in zip(questions, scores):
      size = len(rewards)
      taken = list(range(size))
      if size > n:
        text = f"{seed}_{run}_{row['q_id']}"
        start = int(hashlib.md5(text.encode()).hexdigest()[:8], 16)
        draws = np.random.RandomState(start)
        taken = draws.choice(size, n, replace=False).tolist()
      said = [str(row["parsed_answers"][i] or "N/A").lower() for i in taken]
      right = [x == row["answer"].lower() and x != "n/a" for x in said]
      sums = collections.defaultdict(float)
      for i, x in zip(taken, said):
        sums[x] += rewards[i]
      best = max(range(len(taken)), key=lambda i: rewards[taken[i]])
      counts = collections.Counter(said)  # in the order of first appearance
      is_right = dict(zip(said, right))
      found["best of N"].append(right[best])
      found["weighted vote"].append(is_right[max(sums, key=sums.get)])
      found["majority vote"].append(is_right[max(counts, key=counts.get)])
      found["pass@N"].append(any(right))
  return {rule: np.mean(x) for rule, x in found.items()}


@pytest.mark.parametrize("seed", [0, 42])
def test_the_numbers_are_those_of_the_released_protocol(seed, tmp_path):
  random = np.random.default_rng(seed)
  questions, scores = [], []
  for i in range(12):
    size = int(random.integers(1, 24))
    said = random.choice(["A", "B", "c", None], size).tolist()
    questions.append(question(f"q{i}", "C", said))
    # Multiples of 1/8: sums are exact, and many are equal.
    scores.append((random.integers(0, 9, size) / 8).tolist())
  found = tables(tmp_path, questions, scores, seed=seed, num_runs=7)
  for n in SIZES:
    expected = released(questions, scores, n=n, runs=7, seed=seed)
    for rule, value in expected.items():
      assert found["overall"][rule][str(n)] == pytest.approx(value, abs=1e-12)


def test_five_samples_with_ties_by_hand(tmp_path):
  """All five: b and a tie with two votes, b stands first; n/a is a class."""
  row = question("q", "A", ["B", "A", None, "A", "B"])
  found = tables(tmp_path, [row], [[0.2, 0.9, 0.5, 0.1, 0.9]])["overall"]
  last = {rule: x["16"] for rule, x in found.items()}
  assert last == {
      "best of N": 1,  # the first 0.9
      "weighted vote": 0,  # 1.1 against 1
      "majority vote": 0,
      "pass@N": 1,
      "best of N, all subsets": 0.5,  # a tie is broken at random
      "pass@N, all subsets": 1,
  }
  one = {rule: x["1"] for rule, x in found.items()}
  drawn = one.pop("best of N, all subsets"), one.pop("pass@N, all subsets")
  assert len(set(one.values())) == 1 and drawn == pytest.approx((0.4, 0.4))


def test_draws_approach_the_mean_over_all_subsets(tmp_path):
  rows = [question(f"q{i}", "A", list("AABBC")) for i in range(20)]
  scores = [[0.1, 0.6, 0.5, 0.7, 0.2]] * 20
  found = tables(tmp_path, rows, scores, num_runs=50)["overall"]
  for rule in ("best of N", "pass@N"):
    for n in SIZES:
      exact = found[f"{rule}, all subsets"][str(n)]
      assert found[rule][str(n)] == pytest.approx(exact, abs=0.06)
  # Of ten pairs: without a right one (3 of them), with 0.6 as the best (3).
  assert found["pass@N, all subsets"]["2"] == pytest.approx(7 / 10)
  assert found["best of N, all subsets"]["2"] == pytest.approx(3 / 10)


def test_equal_rewards_make_the_weighted_vote_a_majority(tmp_path):
  random = np.random.default_rng(0)
  said = random.choice(list("ABC"), (30, 16)).tolist()
  rows = [question(f"q{i}", "A", x) for i, x in enumerate(said)]
  found = tables(tmp_path, rows, [[0.3] * 16] * 30, num_runs=10)
  assert found["weighted vote"] == found["majority vote"]


def test_what_could_not_be_read_may_win_and_is_never_right(tmp_path):
  rows = [question("q", "A", [None, "", "n/a", "A", "A"])]
  found = tables(tmp_path, rows, [[0.9, 0.8, 0.7, 0.1, 0.1]])["overall"]
  assert [found[x]["8"] for x in list(found)[:4]] == [0, 0, 0, 1]
  nobody = tables(tmp_path, [question("q", "A", [None, "B"])], [[0.1, 0.2]])
  assert not any(any(x.values()) for x in nobody["overall"].values())


def test_negative_scores_are_no_weights(tmp_path):
  found = tables(tmp_path, [question("q", "A", ["A", "B"])], [[-1.0, 0.5]])
  assert "weighted vote" not in found and "majority vote" in found
  assert "weighted vote" not in found["overall"]


def test_domains_count_alike(tmp_path):
  rows = [question(f"q{i}", "A", ["A"], category="math") for i in range(3)]
  rows += [question("q", "A", ["B"], category="law")]
  found = tables(tmp_path, rows, [[0.5]] * 4, num_runs=1)
  assert found["best of N"]["math"]["1"] == 1
  assert found["best of N"]["law"]["questions"] == 1
  assert found["overall"]["best of N"]["1"] == 0.5


def test_steps_of_a_chain_make_one_score():
  row = ScoredRow("q", "", "", 0, (0.9, 0.2, np.nan, 0.8))
  nothing = ScoredRow("p", "", "", 0, ())
  found = lambda how: [
      x.scores
      for x in evaluate_chains.whole([row, nothing], [[2, 1, 1], [0]], how)
  ]
  assert found("min") == [(0.2, 0.5, 0.8), (0.5,)]
  assert found("last") == [(0.2, 0.5, 0.8), (0.5,)]
  assert found("max") == [(0.9, 0.5, 0.8), (0.5,)]


def rewards_of(questions):
  """A scorer's rewards of two steps for every chain, as a file has them."""
  return [
      {"q_id": x["q_id"], "cot_ids": x["cot_ids"][::-1],
       "rewards": [[0.1 * i + 0.2, None] for i in x["cot_ids"]][::-1]}
      for x in questions
  ]


def test_rewards_from_elsewhere(tmp_path):
  """A null is 0.5, and rewards are found by their ids."""
  questions = [question(f"q{i}", "A", list("AABBA")) for i in range(3)]
  files = [write(tmp_path / f"{x}.jsonl", questions) for x in ("law", "math")]
  rewards = [write(tmp_path / f"{x}_reward.jsonl", rewards_of(questions))
             for x in ("law", "math")]
  options = Options(
      "multi_rm", data=tuple(files), scores=tuple(rewards), by_step="min"
  )
  run = tmp_path / "run"
  found = evaluate_rewards.evaluate(options, run, show=False)
  # min(0.1 i + 0.2, 0.5): the last two tie, and the first of them is "B".
  assert found["overall"]["best of N"]["16"] == 0
  assert list(found["best of N"]) == ["law", "math"]
  rows = evaluate_chains.given(files, rewards, "min")
  assert rows[4].scores == pytest.approx((0.2, 0.3, 0.4, 0.5, 0.5))
  assert "rewards in" in (run / "report.html").read_text()
  assert evaluate_rewards.evaluate(options, run, show=False) == found


def test_steps_scored_here(tmp_path):
  """Of prefixes: the toy is surer of short ones, and of the first step."""
  options = Options(
      "multi_rm", scorer="tests.experiments.toy_scorers:steps", by_step="max"
  )
  found = evaluate_rewards.evaluate(options, tmp_path, show=False)
  lines = (tmp_path / "scores.jsonl").read_text().splitlines()
  sample = reading.sample("multi_rm").read_text().splitlines()
  rows = [json.loads(x) for x in sample]
  for line, row in zip(lines, rows, strict=True):
    assert len(json.loads(line)["scores"]) == sum(map(len, row["cots"]))
  # All chains have 0.9: equal rewards, and the first chain is chosen.
  assert found["weighted vote"] == found["majority vote"]
  first = [row["parsed_answers"][0].lower() == row["answer"].lower()
           for row in rows]
  assert found["overall"]["best of N"]["16"] == pytest.approx(np.mean(first))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(scores=("a", "b")), "one file for each of --data, got 2 for 1"),
        (dict(by_step=""), "--scores needs --by_step, one of min"),
        (dict(benchmark="rewardmath"), "--scores is for --benchmark=multi_rm"),
        (dict(scorer="a:b"), "one of --scorer and --judge must be"),
        (dict(by_step="x"), "by_step must be one of"),
    ],
)
def test_flags_that_make_no_sense(changes, message):
  given = dict(benchmark="multi_rm", scores=("r.jsonl",), by_step="min")
  with pytest.raises(ValueError, match=message):
    Options(**given | changes).check()


def test_rewards_that_are_not_there_name_question_and_chain(tmp_path):
  rows = [question("q", "A", list("AB"))]
  data = write(tmp_path / "law.jsonl", rows)
  for name, change in (("0", {"q_id": "x"}), ("1", {"cot_ids": [5, 0]})):
    rewards = write(tmp_path / "r.jsonl", [rewards_of(rows)[0] | change])
    with pytest.raises(ValueError, match=f"q_id 'q', cot_id '{name}', which"):
      evaluate_chains.given([data], [rewards], "min")
