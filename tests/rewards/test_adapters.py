import functools
import math
import pickle

import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards.verifiers import adapters, text

RIGHT, WRONG, CRASHED = Status.CORRECT, Status.WRONG, Status.CRASHED


# As users write them for TRL; the last two are of its documentation.
def trl_answer(prompts, completions, answer, **kwargs):
  return [float(a in c) for c, a in zip(completions, answer)]


def trl_columns(completions, level, answer, **kwargs):
  assert "trainer_state" in kwargs
  return [x if c == a else None for c, a, x in zip(completions, answer, level)]


def trl_chat(completions, **kwargs):
  contents = [completion[0]["content"] for completion in completions]
  return [1.0 if "<think>" in content else 0.0 for content in contents]


def trl_lengths(completion_ids, **kwargs):
  return [float(len(ids)) for ids in completion_ids]


def tunix_match(prompts, completions, **kwargs):
  assert all(prompt.endswith("=") for prompt in prompts)
  return [2.0 * (c == a) for c, a in zip(completions, kwargs["answer"])]


PROMPTS, SAID, ANSWERS = ["1+1=", "2+2="], ["2", "5"], ["2", "4"]


def statuses(verdicts):
  return [verdict.status for verdict in verdicts]


def test_a_trl_function_becomes_a_verifier():
  verifier = adapters.from_trl(trl_answer)
  verdicts = verifier(PROMPTS, SAID, ANSWERS)
  assert statuses(verdicts) == [RIGHT, WRONG]
  assert [x.score for x in verdicts] == [1.0, 0.0]


def test_none_is_unknown_and_rows_become_columns():
  """Pain 7 (TRL #5773): None poisons no sibling and is no 0."""
  verifier = adapters.from_trl(trl_columns, trainer_state=object())
  rows = [dict(answer="2", level=3), dict(answer="4", level=1)]
  verdicts = verifier(PROMPTS, SAID, rows)
  assert statuses(verdicts) == [RIGHT, CRASHED]
  assert [x.score for x in verdicts] == [3.0, None]


def test_chat_messages_and_token_ids_when_asked():
  """Pain 40 (reward-bench #226): how a text is wrapped is said, not guessed."""
  said = ["<think>", "no"]
  verdicts = adapters.from_trl(trl_chat, chat=True)(PROMPTS, said, ANSWERS)
  assert statuses(verdicts) == [RIGHT, WRONG]
  verifier = adapters.from_trl(
      trl_lengths, encode=lambda x: list(map(ord, x)), correct_above=2.0
  )
  assert statuses(verifier(PROMPTS, said, ANSWERS)) == [RIGHT, WRONG]


def test_a_tunix_function_becomes_a_verifier():
  verdicts = adapters.from_tunix(tunix_match)(PROMPTS, SAID, ANSWERS)
  assert [x.score for x in verdicts] == [2.0, 0.0]
  verifier = adapters.from_tunix(trl_answer, reference_column="solution")
  with pytest.raises(TypeError, match="answer"):
    verifier(PROMPTS, SAID, ANSWERS)


def test_a_verifier_becomes_a_function_for_either():
  function = adapters.to_trl(text.numeric, name="numeric")
  columns = dict(answer=["2", "4", "6"], trainer_state=None)
  said = ["2", "5", "six"]
  prompts = ["?"] * 3
  assert function(prompts=prompts, completions=said, **columns) == [1, 0, None]
  chat = [[{"role": "assistant", "content": x}] for x in said]
  assert function(prompts=prompts, completions=chat, **columns) == [1, 0, None]
  assert function.__name__ == "numeric"
  function = adapters.to_tunix(text.numeric, invalid=-0.5, name="numeric")
  assert function(prompts, said, **columns) == [1.0, 0.0, -0.5]


def test_there_and_back_is_the_same_verifier():
  there = adapters.to_trl(text.numeric, name="numeric")
  back = adapters.from_trl(there)
  said = ["2", "six"]
  scores = [x.score for x in text.numeric(PROMPTS, said, ANSWERS)]
  assert [x.score for x in back(PROMPTS, said, ANSWERS)] == scores
  # What makes an unknown unknown does not survive: TRL has only None.
  assert statuses(back(PROMPTS, said, ANSWERS)) == [RIGHT, CRASHED]


def test_lists_of_a_wrong_length_or_kind_crash_all():
  for result in ([1.0], None, [math.nan] * 2):
    verifier = adapters.from_trl(functools.partial(_constant, result))
    assert statuses(verifier(PROMPTS, SAID, ANSWERS)) == [CRASHED] * 2


def _constant(result, **unused):
  return result


def test_adapted_functions_pickle():
  for function in (
      adapters.from_trl(trl_answer),
      adapters.from_tunix(tunix_match),
      adapters.to_trl(text.numeric, name="n"),
  ):
    copy = pickle.loads(pickle.dumps(function))
    assert copy.args == function.args
  assert copy.__name__ == "n"


def test_no_rows_at_all():
  assert adapters.from_trl(trl_answer)([], [], []) == []
