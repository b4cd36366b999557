import math
import os
import subprocess
import sys
import threading
import time

import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import adapters, pool, text

# They share what is dear to make.
pytestmark = pytest.mark.xdist_group("pool")

SPECIAL = {"none": None, "nan": math.nan, "text": "1.0"}


def misbehave(prompts, completions, references):
  """Does to each completion what the completion says."""
  scores = []
  for said in completions:
    print("a verifier may print")  # and must not break the pipe
    if said == "hang":
      while True:
        pass
    if said == "sleep":
      subprocess.Popen(["sleep", references[0]]).wait()
    if said == "die":
      os._exit(3)
    if said == "exit":
      sys.exit("enough")
    if said == "raise":
      raise RuntimeError("a bug of the user's")
    scores += [1.0] * (2 if said == "long" else 1)
    scores[-1] = SPECIAL.get(said, scores[-1])
  return scores


@pytest.fixture(scope="module")
def shared():
  with pool.VerifierPool(misbehave, timeout_s=2.0, num_workers=2) as shared:
    yield shared


def run(verifier, *said, references=None):
  return verifier([""] * len(said), said, references or [""] * len(said))


def test_one_verdict_each_whatever_the_verifier_does(shared):
  """Pains 7 and 22 (TRL #5773, NeMo-RL #431): a failure is never a 0."""
  said = ["a", "raise", "none", "nan", "text", "long", "die", "exit", "b"]
  results = run(shared, *said)
  good = Verdict(1.0, Status.CORRECT)
  assert [results[0], results[-1]] == [good, good]
  assert {x.status for x in results[1:-1]} == {Status.CRASHED}
  assert {x.score for x in results[1:-1]} == {None}
  details = dict(zip(said, [x.detail for x in results]))
  assert details["raise"] == "RuntimeError: a bug of the user's"
  assert details["none"] == "returned None"
  assert details["nan"] == "returned nan"
  assert details["text"] == "returned '1.0'"
  assert details["long"] == "returned 2 results for 1 completions"
  assert details["die"] == "worker died, exit status 3"
  assert details["exit"] == "SystemExit: enough"


def test_a_hang_ends_at_its_time_out_and_spares_its_siblings(shared):
  """Pain 22 (maxtext #3629): a verifier that hangs stops no trainer."""
  run(shared, "a", "a")  # both workers are up
  start = time.monotonic()
  results = run(shared, "a", "hang", "b", "c")
  assert time.monotonic() - start < 2.0 + 8.0
  statuses = [x.status for x in results]
  assert statuses == [Status.CORRECT, Status.TIMEOUT] + [Status.CORRECT] * 2
  assert results[1].score is None
  assert results[1].detail == "no answer in 2 s"


def test_nothing_that_hangs_is_left_behind(shared):
  number = f"98765{os.getpid()}"  # seconds, and a mark to find it by
  results = run(shared, "sleep", references=[number])
  assert results[0].status is Status.TIMEOUT
  listing = subprocess.run(
      ["ps", "-eo", "args"], capture_output=True, text=True, check=True
  )
  assert f"sleep {number}" not in listing.stdout


def test_a_worker_killed_between_batches_costs_nothing(shared):
  run(shared, "a", "b")
  before = shared.restarts
  for worker in shared._workers:
    worker._process.kill()
    worker._process.wait()
  assert [x.score for x in run(shared, "a", "b", "c")] == [1.0] * 3
  assert shared.restarts > before


def test_a_chunk_shares_its_fate():
  with pool.VerifierPool(misbehave, timeout_s=1.0, chunk_size=2) as verifier:
    results = run(verifier, "a", "hang", "b", "none", "c")
    crashed, good = Status.CRASHED, Status.CORRECT
    expected = [Status.TIMEOUT, Status.TIMEOUT, good, crashed, good]
    assert [x.status for x in results] == expected
    assert verifier.restarts == 1
    assert run(verifier) == []


def test_functions_of_a_script_run_too():
  factor = 3.0
  function = lambda completions, **columns: [factor for _ in completions]
  verifier = adapters.from_trl(function)
  with pool.VerifierPool(verifier, timeout_s=5.0, chunk_size=None) as whole:
    assert [x.score for x in run(whole, "a", "b")] == [3.0, 3.0]


def test_a_closed_pool_starts_again_and_ends_no_later_than_its_trainer():
  """A trainer killed with -9 leaves no worker behind, not even a busy one."""
  program = (
      "import os, signal, threading, time\n"
      "from rewardjax.rewards.verifiers import pool, text\n"
      "from tests.rewards import test_pool\n"
      "verifier = pool.VerifierPool(test_pool.misbehave, timeout_s=500.0)\n"
      "test_pool.run(verifier, 'a')\n"
      "verifier.close()\n"
      "test_pool.run(verifier, 'a')\n"
      "print(verifier._workers[0]._process.pid, flush=True)\n"
      "args = (verifier, 'hang')\n"
      "threading.Thread(target=test_pool.run, args=args).start()\n"
      "time.sleep(0.5)\n"
      "os.kill(os.getpid(), signal.SIGKILL)\n"
  )
  trainer = subprocess.run(
      [sys.executable, "-c", program], capture_output=True, text=True
  )
  pid = int(trainer.stdout)
  for _ in range(100):
    if not _runs(pid):
      return
    time.sleep(0.1)
  pytest.fail("the worker outlived its trainer")


def _runs(pid):
  command = ["ps", "-o", "stat=", "-p", str(pid)]
  stat = subprocess.run(command, capture_output=True, text=True).stdout.strip()
  return bool(stat) and not stat.startswith("Z")


class Unimportable:

  def __call__(self, *unused):
    raise AssertionError

  def __reduce__(self):
    return os.getenv, ("A", "B", "C", "D")  # fails where it is loaded


def test_a_verifier_that_no_worker_can_load_is_an_error_at_once():
  with pool.VerifierPool(Unimportable(), timeout_s=1.0) as verifier:
    with pytest.raises(RuntimeError, match="no worker: TypeError"):
      run(verifier, "a", "b")


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="verifier must pickle"):
    pool.VerifierPool(threading.Lock().acquire, timeout_s=1.0)
  for change in (dict(timeout_s=0.0), dict(num_workers=0), dict(chunk_size=0)):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be in"):
      pool.VerifierPool(text.numeric, **(dict(timeout_s=1.0) | change))
  with pool.VerifierPool(text.numeric, timeout_s=1.0) as verifier:
    with pytest.raises(ValueError, match="1 prompts, 0 completions"):
      verifier([""], [], [])
