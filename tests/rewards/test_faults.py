"""Whatever is said and whatever breaks: one typed verdict each, in time."""

import functools
import json
import os
import pathlib
import signal
import threading
import time

import pytest

from rewardjax.core import exact_json
from rewardjax.outcomes import Status
from rewardjax.rewards.verifiers import (
  answers,
  code,
  ensembles,
  formats,
  math,
  pool,
  reasoning_gym,
  sandbox,
  text,
  verdicts,
)
from tests.rewards import hostile

KNOWN = (Status.CORRECT, Status.WRONG)
ENTRY = {"question": "6 + 6 =", "answer": "12", "metadata": {}}
CASES = json.dumps({"cases": [{"input": "", "output": "12"}]})
ROW = exact_json.dumps(
    {"source": "chain_sum", "parameters": {}, "entry": ENTRY}
)
BRIEF = sandbox.Limits(cpu_s=1)
CHOICE = json.dumps({"answer": "A", "options": ["12", "21"]})
# Verifiers that must answer by themselves, and a reference each.
VERIFIERS = {
    "exact_match": (text.exact_match, "12"),
    "numeric": (text.numeric, "12"),
    "continuous_reward": (text.continuous_reward, "12"),
    "strict": (answers.strict, "12"),
    "regex": (functools.partial(formats.regex, search=True), "1.*2"),
    "multiple_choice": (formats.multiple_choice, CHOICE),
    "reasoning_gym": (reasoning_gym.score, ROW),
    "run_python": (functools.partial(code.run_python, limits=BRIEF), CASES),
    "vote": (ensembles.vote([text.numeric, answers.strict], tie="wrong"), "12"),
}


def dispatch(prompts, completions, references):
  """Each prompt names the verifier."""
  found = []
  for i, name in enumerate(prompts):
    row = [[x[i]] for x in (prompts, completions, references)]
    found += VERIFIERS[name][0](*row)
  return found


@pytest.fixture(scope="module")
def everyone():
  with pool.VerifierPool(dispatch, timeout_s=5.0, num_workers=2) as everyone:
    yield everyone


@pytest.mark.parametrize("name", VERIFIERS)
def test_hostile_texts_get_a_verdict_within_the_time_out(everyone, name):
  said = list(hostile.TEXTS.values())
  found = everyone([name] * len(said), said, [VERIFIERS[name][1]] * len(said))
  statuses = dict(zip(hostile.TEXTS, [x.status for x in found]))
  bad = (Status.TIMEOUT, Status.CRASHED)
  assert not {x: y for x, y in statuses.items() if y in bad}
  for verdict in found:
    assert (verdict.score is not None) == (verdict.status in KNOWN)
  # The empty string is an answer only to those that read nothing from it.
  if name not in ("exact_match", "regex"):
    assert statuses["empty"] is Status.UNPARSABLE


def test_a_catastrophic_pattern_ends_by_the_time_out(everyone):
  (verdict,) = everyone(["regex"], ["a" * 60 + "!"], ["^(a+)+$"])
  assert (verdict.score, verdict.status) == (None, Status.TIMEOUT)
  (verdict,) = everyone(["regex"], ["aa"], ["^(a+)+$"])
  assert verdict.status is Status.CORRECT


def test_hostile_formulas_end_by_the_time_out_of_math_verify():
  """Pain 22 (maxtext #3629): its own time-outs stop none of these."""
  said = [hostile.TEXTS[x] for x in ("tower", "empty", "nul", "surrogate")]
  said += [hostile.TEXTS[x] for x in ("braces", "digits")]
  with pool.VerifierPool(
      math.math_verify,
      timeout_s=1.0,
      num_workers=2,
      memory_mb=1024,
      jailed=True,
  ) as verifier:
    start = time.monotonic()
    found = verifier([""] * 6, said, ["12"] * 6)
    assert time.monotonic() - start < 60.0
    (fine,) = verifier([""], ["\\boxed{12}"], ["12"])
  assert fine.status is Status.CORRECT
  # A tower has a value that no machine can hold.
  assert found[0].status in (Status.TIMEOUT, Status.CRASHED)
  assert found[1].status is Status.UNPARSABLE
  for verdict in found:
    assert (verdict.score is not None) == (verdict.status in KNOWN)


def slow(prompts, completions, references):
  """Says who it is, and waits."""
  for said in completions:
    pathlib.Path(said).write_text(str(os.getpid()))
    time.sleep(0.3)
  return [1.0] * len(completions)


def test_a_worker_killed_in_the_middle_of_a_batch(tmp_path):
  """Pain 22 (NeMo-RL #431): what it held is invalid, and counted."""
  paths = [tmp_path / str(i) for i in range(4)]

  def kill():
    while not (paths[1].exists() and paths[1].read_text()):
      time.sleep(0.01)
    os.kill(int(paths[1].read_text()), signal.SIGKILL)

  with pool.VerifierPool(slow, timeout_s=20.0) as verifier:
    killer = threading.Thread(target=kill)
    killer.start()
    found = verifier([""] * 4, [str(x) for x in paths], [""] * 4)
    killer.join()
    assert verifier.restarts == 1
  assert found[1].detail == "worker died, exit status -9"
  reward = verdicts.to_reward(found, unparsable=0.0)
  assert reward.valid.tolist() == [True, False, True, True]
  assert reward.value[reward.valid].tolist() == [1.0] * 3
  expected = dict(correct=3, wrong=0, unparsable=0, timeout=0, crashed=1)
  assert verdicts.status_counts(found) == expected


def obey(prompts, completions, references):
  """Evaluates what was said, as some verifiers do."""
  return [float(eval(said) is not None) for said in completions]


def test_a_jailed_worker_harms_nobody_and_takes_no_more_memory(tmp_path):
  """Pain 25 (tunix c80286a9): eval in a reward ran whatever a model wrote."""
  attacks = [
      f"open({str(tmp_path / 'file')!r}, 'w')",
      "__import__('os').fork()",
      "__import__('socket').socket()",
      "__import__('subprocess').run(['true'])",
      "__import__('os').kill(__import__('os').getppid(), 9)",
  ]
  said = ["1", *attacks, "len(bytearray(200 << 20))", "bytearray(2 << 30)"]
  said += ["open(__import__('os').__file__).read()"]
  with pool.VerifierPool(
      obey, timeout_s=20.0, memory_mb=512, jailed=True
  ) as verifier:
    found = verifier([""] * len(said), said, [""] * len(said))
    assert verifier.restarts == 0
  details = [x.detail.partition(":")[0] for x in found]
  errors = ["PermissionError"] * len(attacks)
  assert details == ["", *errors, "", "MemoryError", ""]
  assert not list(tmp_path.iterdir())


class Heavy:
  """Takes its time when it is called for the first time."""

  def __call__(self, prompts, completions, references):
    if not hasattr(self, "ready"):
      time.sleep(1.5)
      self.ready = True
    if not completions:
      raise RuntimeError("an empty batch is nobody's duty")
    return [1.0] * len(completions)


def test_what_a_first_call_loads_does_not_count_as_its_answer():
  with pool.VerifierPool(Heavy(), timeout_s=1.0) as verifier:
    (verdict,) = verifier([""], ["a"], ["b"])
  assert verdict.status is Status.CORRECT


def test_options_of_the_pool_are_checked():
  with pytest.raises(ValueError, match="memory_mb must be in"):
    pool.VerifierPool(text.numeric, timeout_s=1.0, memory_mb=0)
