"""math-verify, as far as it does not depend on its version."""

import pathlib
import threading

import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards.verifiers import answers, math, text
from tests.rewards import hostile

pytest.importorskip("math_verify")

ROOT = pathlib.Path(__file__).parents[2]


def judge(said, right):
  (verdict,) = math.math_verify([""], [said], [right])
  assert (verdict.score is None) == (
      verdict.status not in (Status.CORRECT, Status.WRONG)
  )
  return verdict


@pytest.mark.parametrize(
    ("said", "right", "status"),
    [
        ("The answer is $\\frac{1}{2}$.", "0.5", Status.CORRECT),
        ("\\boxed{\\frac{2}{4}}", "\\frac{1}{2}", Status.CORRECT),
        ("1,000", "1000", Status.CORRECT),
        ("$x^2 + 2x + 1$", "$(x+1)^2$", Status.CORRECT),
        ("12", "112", Status.WRONG),
        ("$\\frac{1}{3}$", "\\frac{1}{2}", Status.WRONG),
        ("", "12", Status.UNPARSABLE),
        ("no idea", "12", Status.UNPARSABLE),
        ("12", "", Status.CRASHED),
        ("12", "  ", Status.CRASHED),
    ],
)
def test_pairs_that_every_version_agrees_on(said, right, status):
  assert judge(said, right).status is status


def test_it_works_in_a_thread_and_says_nothing(caplog):
  """Its own time-outs are signals, and raise outside the main thread."""
  found = []
  work = lambda: found.append(judge("$\\frac{1}{2}$", "0.5"))
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert found[0].status is Status.CORRECT
  assert not caplog.records


def test_what_it_swallows_is_unknown_here(monkeypatch):
  """Pain 22 (NeMo-RL #431): an error inside it is no wrong answer."""
  import math_verify

  def fail(*unused, **options):
    assert options["raise_on_error"]
    raise RecursionError("too deep")

  with monkeypatch.context() as patch:
    patch.setattr(math_verify, "verify", fail)
    verdict = judge("12", "12")
    assert verdict.status is Status.CRASHED
    assert verdict.detail == "RecursionError: too deep"


@pytest.mark.parametrize(
    ("error", "status"),
    [(RecursionError, Status.UNPARSABLE), (MemoryError, Status.CRASHED)],
)
def test_an_error_while_it_reads(monkeypatch, error, status):
  import math_verify

  parse = math_verify.parse

  def parse_or_fail(said, **options):
    if "bad" in said:
      raise error("no")
    return parse(said, **options)

  monkeypatch.setattr(math_verify, "parse", parse_or_fail)
  assert judge("bad 12", "12").status is status
  assert judge("12", "bad 12").status is Status.CRASHED


def table():
  """How many right answers each rejects, and how many wrong ones it takes."""
  said, right, truth = zip(*hostile.PAIRS)
  counts = {}
  for verifier in (math.math_verify, answers.strict, text.numeric):
    found = verifier([""] * len(said), said, right)
    pairs = [(t, x.status is Status.CORRECT) for t, x in zip(truth, found)]
    rejected, accepted = pairs.count((True, False)), pairs.count((False, True))
    counts[verifier.__name__] = (rejected, accepted)
  return counts


def test_every_verifier_is_noisy_in_its_own_way():
  """What the table in docs/verifiers.md is made of.

  A strict match accepts nothing wrong and rejects most right answers; reading
  formulas rejects fewer, and is fooled by some wrong ones.
  """
  counts = table()
  page = (ROOT / "docs/verifiers.md").read_text()
  for name in ("strict", "numeric"):
    rejected, accepted = counts[name]
    assert f"| `{name}` | {rejected} of 15 | {accepted} of 10 |" in page
  assert counts["strict"][1] == 0
  assert counts["math_verify"][0] < counts["strict"][0]
  assert counts["math_verify"][1] > 0
  assert counts["numeric"][0] < counts["strict"][0]


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="'references': 0"):
    math.math_verify([""], ["1"], [])
  assert math.math_verify([], [], []) == []
