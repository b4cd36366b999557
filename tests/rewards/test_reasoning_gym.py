import functools
import json

import pytest

from rewardjax.core import exact_json
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import reasoning_gym

pytest.importorskip("reasoning_gym")


def reference(source, answer, parameters=(), **metadata):
  entry = {"question": "?", "answer": answer, "metadata": metadata}
  return exact_json.dumps(
      {"source": source, "parameters": dict(parameters), "entry": entry}
  )


def judge(said, right, **options):
  verifier = functools.partial(reasoning_gym.score, **options)
  (verdict,) = verifier([""], [said], [right])
  return verdict


SUM = reference("chain_sum", "12")
# Its scorer is the rule of most data sets.
LETTERS = reference("spell_backward", "abc")


def test_only_a_whole_point_is_correct_unless_said_otherwise():
  assert judge("12", SUM) == Verdict(1.0, Status.CORRECT, "scored 1")
  assert judge("so\n<answer>+12.0</answer>", SUM).status is Status.CORRECT
  # The scorer gives 2 / 3 for a text of three letters that holds the two.
  assert judge("112", SUM).score == 0.0
  partial = judge("112", SUM, partial_credit=True)
  assert partial.status is Status.WRONG
  assert partial.score == pytest.approx(2 / 3)
  lenient = judge("112", SUM, partial_credit=True, correct_from=0.5)
  assert lenient.status is Status.CORRECT
  assert lenient.score == pytest.approx(2 / 3)
  assert judge("112", SUM, correct_from=0.5).score == 1.0


def test_the_answer_is_found_before_it_is_scored():
  assert judge("I spell\nabc", LETTERS).status is Status.CORRECT
  everything = judge("I spell\nabc", LETTERS, places=("whole",))
  assert everything.status is Status.WRONG
  assert judge("", SUM).status is Status.UNPARSABLE
  assert judge("<answer>12", SUM).status is Status.UNPARSABLE


def test_parameters_reach_the_scorer():
  """Some scorers read their data set's configuration."""
  near = "1.004"
  for places, status in ((2, Status.CORRECT), (5, Status.WRONG)):
    right = reference(
        "decimal_arithmetic",
        "1.00",
        {"min_num_decimal_places": places, "max_num_decimal_places": places},
    )
    assert judge(near, right).status is status


@pytest.mark.parametrize(
    "result", [RuntimeError("a bug"), SystemExit(1), None, float("nan")]
)
def test_a_scorer_that_raises_is_a_crash(monkeypatch, result):
  """Pain 22 (NeMo-RL #431): infrastructure that fails is no 0."""
  from reasoning_gym.arithmetic import chain_sum

  def score_answer(self, answer, entry):
    if isinstance(result, BaseException):
      raise result
    return result

  monkeypatch.setattr(chain_sum.ChainSumDataset, "score_answer", score_answer)
  verdict = judge("12", SUM)
  assert (verdict.score, verdict.status) == (None, Status.CRASHED)


@pytest.mark.parametrize(
    "broken",
    ["", "{}", "[]", reference("no_such_set", "1")]
    + [reference("chain_sum", "12", {"no_such_field": 1})]
    + [json.dumps({"source": "chain_sum", "parameters": {}})],
)
def test_a_broken_reference_is_no_fault_of_the_completion(broken):
  verdict = judge("12", broken)
  assert (verdict.score, verdict.status) == (None, Status.CRASHED)


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="score: .*'references': 0"):
    reasoning_gym.score([""], ["1"], [])
  with pytest.raises(ValueError, match="correct_from must be in"):
    reasoning_gym.score([], [], [], correct_from=0.0)
