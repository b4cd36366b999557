"""Verifiers made of verifiers: votes, products, second opinions.

What they return is a `functools.partial` of a function of this module: it
pickles if its members do, so a whole ensemble runs in one `VerifierPool`,
with one time-out. A member that may hang should have a pool of its own; the
ensemble then stays outside. A member that raises, or returns what is no
verdict, is unknown for that batch, and the others decide.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import scores, text, worker

Verifier = Callable[..., list[Verdict]]
Tie = Literal["correct", "wrong", "unknown"]
When = Literal["rejected", "accepted", "unparsable", "unknown"]

_KNOWN = (Status.CORRECT, Status.WRONG)
_TIES = ("correct", "wrong", "unknown")
_WHEN = {
    "rejected": (Status.WRONG,),
    "accepted": (Status.CORRECT,),
    "unparsable": (Status.UNPARSABLE,),
    "unknown": (Status.UNPARSABLE, Status.TIMEOUT, Status.CRASHED),
}
_ASKED = "second opinion after "


def vote(
    verifiers: Sequence[Verifier],
    *,
    quorum: int | None = None,
    tie: Tie = "unknown",
) -> Verifier:
  """Correct where more members accept than reject.

  Members that do not know do not vote. Scores are 1 and 0, whatever the
  members' scores.

  Args:
    verifiers: the members.
    quorum: least number of votes; None means more than half of the members.
      With fewer the result is unknown, with the highest status of those who
      did not vote (crashed before timeout before unparsable).
    tie: what an equal number of votes means; "unknown" is a crash whose
      detail says so, since the verifier failed to decide.

  Raises:
    ValueError: if there is no member, the quorum is not in 1 .. members, or
      `tie` is unknown.
  """
  _check_members("vote", verifiers)
  quorum = len(verifiers) // 2 + 1 if quorum is None else quorum
  checks.within("vote", 1, len(verifiers), quorum=quorum)
  checks.one_of("vote", _TIES, tie=tie)
  decide = functools.partial(_count_votes, quorum, tie)
  return functools.partial(_combine, decide, tuple(verifiers))


def product(verifiers: Sequence[Verifier]) -> Verifier:
  """Correct where all members accept, wrong where any rejects.

  Otherwise unknown, with the highest status of those who do not know. Scores
  are 1 and 0.

  Raises:
    ValueError: if there is no member.
  """
  _check_members("product", verifiers)
  return functools.partial(_combine, _all_accept, tuple(verifiers))


def second_opinion(
    first: Verifier, trusted: Verifier, *, when: When = "rejected"
) -> Verifier:
  """Asks a better and dearer verifier about some cases only.

  Where the trusted one does not know, the first verdict stays. The detail of
  a verdict says that it was asked for; `opinion_counts` counts.

  Args:
    first: judges every completion.
    trusted: judges those of `when`, in one call per batch.
    when: "rejected" finds false negatives, "accepted" false positives;
      "unparsable", or "unknown" for whatever the first one does not know.

  Raises:
    ValueError: if `when` is unknown.
  """
  checks.one_of("second_opinion", _WHEN, when=when)
  return functools.partial(_appeal, first, trusted, _WHEN[when])


def opinion_counts(results: Sequence[Verdict]) -> dict[str, int]:
  """How many verdicts of `second_opinion` were "asked" and "overturned"."""
  asked = [x for x in results if x.detail.startswith(_ASKED)]
  before = [x.detail.removeprefix(_ASKED).partition(":")[0] for x in asked]
  changed = sum(x.status.name.lower() != y for x, y in zip(asked, before))
  return {"asked": len(asked), "overturned": changed}


def _check_members(where: str, verifiers: Sequence[Verifier]) -> None:
  if not verifiers:
    raise ValueError(f"{where}: verifiers must not be empty.")


def _ask(verifier: Verifier, *batch: Sequence[Any]) -> list[Verdict]:
  """Its verdicts; crashed ones if it raises."""
  count = len(batch[1])
  try:
    return scores.from_scores(verifier(*batch), count=count)
  except Exception as error:
    detail = worker.describe(error)
    return [Verdict(None, Status.CRASHED, detail)] * count


def _combine(
    decide: Callable[[Sequence[Verdict]], Verdict],
    verifiers: tuple[Verifier, ...],
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[Any],
) -> list[Verdict]:
  text.check_lengths("ensemble", prompts, completions, references)
  batch = (prompts, completions, references)
  found = [_ask(verifier, *batch) for verifier in verifiers]
  return [decide(members) for members in zip(*found)]


def _count_votes(quorum: int, tie: Tie, members: Sequence[Verdict]) -> Verdict:
  accepts = sum(x.status is Status.CORRECT for x in members)
  rejects = sum(x.status is Status.WRONG for x in members)
  if accepts + rejects < quorum:
    return _unknown(members)
  if accepts != rejects:
    return text.binary(accepts > rejects)
  if tie == "unknown":
    return Verdict(None, Status.CRASHED, f"a tie of {accepts} : {rejects}")
  return text.binary(tie == "correct")


def _all_accept(members: Sequence[Verdict]) -> Verdict:
  if any(x.status is Status.WRONG for x in members):
    return text.binary(False)
  if all(x.status is Status.CORRECT for x in members):
    return text.binary(True)
  return _unknown(members)


def _unknown(members: Sequence[Verdict]) -> Verdict:
  return max(
      (x for x in members if x.status not in _KNOWN), key=lambda x: x.status
  )._replace(score=None)


def _appeal(
    first: Verifier,
    trusted: Verifier,
    when: tuple[Status, ...],
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[Any],
) -> list[Verdict]:
  text.check_lengths("second_opinion", prompts, completions, references)
  results = _ask(first, prompts, completions, references)
  asked = [i for i, x in enumerate(results) if x.status in when]
  if not asked:
    return results
  chosen = [[x[i] for i in asked] for x in (prompts, completions, references)]
  for i, opinion in zip(asked, _ask(trusted, *chosen)):
    before = results[i]
    after = opinion if opinion.status in _KNOWN else before
    detail = f"{_ASKED}{before.status.name.lower()}: {opinion.detail}"
    results[i] = after._replace(detail=detail)
  return results
