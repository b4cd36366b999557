import functools
import itertools
import pickle

import numpy as np
import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import ensembles, text

CORRECT, WRONG = Status.CORRECT, Status.WRONG
UNPARSABLE, TIMEOUT, CRASHED = Status.UNPARSABLE, Status.TIMEOUT, Status.CRASHED


def says(name, prompts, completions, references):
  """Item i gets the status that completion i lists under `name`."""
  statuses = [Status[said.split()[name]] for said in completions]
  score = {CORRECT: 1.0, WRONG: 0.0}
  return [Verdict(score.get(x), x, f"by {name}") for x in statuses]


def member(i):
  return functools.partial(says, i)


def every(count):
  """All combinations of statuses of `count` members."""
  return list(itertools.product(Status, repeat=count))


def run(verifier, rows):
  said = [" ".join(x.name for x in row) for row in rows]
  results = verifier([""] * len(said), said, [""] * len(said))
  known = [x.status in (CORRECT, WRONG) for x in results]
  assert [x.score is not None for x in results] == known
  assert all(x.score == (x.status is CORRECT) for x in results if x.score)
  return results


def voted(row, quorum, tie):
  """The rule of the docstring, written once more."""
  counts = {status: row.count(status) for status in Status}
  if counts[CORRECT] + counts[WRONG] < quorum:
    return next(x for x in (CRASHED, TIMEOUT, UNPARSABLE) if counts[x])
  if counts[CORRECT] == counts[WRONG]:
    return {"correct": CORRECT, "wrong": WRONG, "unknown": CRASHED}[tie]
  return CORRECT if counts[CORRECT] > counts[WRONG] else WRONG


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("tie", ["correct", "wrong", "unknown"])
def test_votes_truth_table(count, tie):
  members = [member(i) for i in range(count)]
  for quorum in (None, *range(1, count + 1)):
    verifier = ensembles.vote(members, quorum=quorum, tie=tie)
    least = {1: 1, 2: 2, 3: 2}[count] if quorum is None else quorum
    actual = [x.status for x in run(verifier, every(count))]
    assert actual == [voted(row, least, tie) for row in every(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_products_truth_table(count):
  verifier = ensembles.product([member(i) for i in range(count)])
  for row, result in zip(every(count), run(verifier, every(count))):
    if WRONG in row:
      assert result.status is WRONG
    elif set(row) == {CORRECT}:
      assert result.status is CORRECT
    else:
      assert result.status is max(set(row) - {CORRECT})


ASKED = {
    "rejected": {WRONG},
    "accepted": {CORRECT},
    "unparsable": {UNPARSABLE},
    "unknown": {UNPARSABLE, TIMEOUT, CRASHED},
}


@pytest.mark.parametrize("when", ASKED)
def test_second_opinions_truth_table_and_counts(when):
  verifier = ensembles.second_opinion(member(0), member(1), when=when)
  results, changed = run(verifier, every(2)), 0
  for (first, trusted), result in zip(every(2), results):
    asked = first in ASKED[when]
    decides = asked and trusted in (CORRECT, WRONG)
    assert result.status is (trusted if decides else first)
    assert result.detail.startswith("second opinion after") == asked
    changed += result.status is not first
  expected = {"asked": 5 * len(ASKED[when]), "overturned": changed}
  assert ensembles.opinion_counts(results) == expected


def test_the_trusted_verifier_sees_only_what_it_is_asked():
  seen = []

  def trusted(*batch):
    seen.append(batch)
    return [1.0] * len(batch[0])

  verifier = ensembles.second_opinion(text.exact_match, trusted)
  results = verifier(["p", "q", "r"], ["1", "x", "y"], ["1", "2", "3"])
  assert seen == [(["q", "r"], ["x", "y"], ["2", "3"])]
  assert [x.status for x in results] == [CORRECT] * 3
  verifier(["p"], ["1"], ["1"])
  assert len(seen) == 1


def rates(verifier, member_rates):
  """(false positive, false negative) of independent members, exactly.

  Enumerates what the members say of a wrong and of a right answer.
  """
  found = []
  for truth, side in ((WRONG, 0), (CORRECT, 1)):
    flipped = {WRONG: CORRECT, CORRECT: WRONG}[truth]
    rows = list(itertools.product((truth, flipped), repeat=len(member_rates)))
    errors = np.array([[x is flipped for x in row] for row in rows])
    rate = np.array([r[side] for r in member_rates])
    chance = np.prod(np.where(errors, rate, 1 - rate), axis=1)
    wrong = [x.status is flipped for x in run(verifier, rows)]
    found.append(np.sum(chance * wrong))
  return found


def test_error_rates_of_products_and_votes_in_closed_form():
  rates_of = [(0.1, 0.3), (0.2, 0.2), (0.4, 0.05)]
  members = [member(i) for i in range(3)]
  # A product lets pass what all let pass, and rejects what any rejects.
  expected = [0.1 * 0.2 * 0.4, 1 - 0.7 * 0.8 * 0.95]
  np.testing.assert_allclose(
      rates(ensembles.product(members), rates_of), expected, rtol=1e-12
  )
  # A vote of three errs where two or three err: e2 - 2 e3 of their rates.
  two_or_three = lambda a, b, c: a * b + a * c + b * c - 2 * a * b * c
  expected = [two_or_three(*x) for x in zip(*rates_of)]
  np.testing.assert_allclose(
      rates(ensembles.vote(members), rates_of), expected, rtol=1e-12
  )
  # Asking a perfect one about rejections leaves no false negative.
  appeal = ensembles.second_opinion(member(0), member(1))
  np.testing.assert_allclose(
      rates(appeal, [(0.1, 0.3), (0.0, 0.0)]), [0.1, 0.0], atol=1e-15
  )


def broken(*unused):
  raise OSError("out of order")


def test_a_member_that_raises_or_returns_nonsense_does_not_vote():
  """Pain 24 (torchforge #566): one broken verifier is not the ensemble."""
  good = text.exact_match
  for bad in (broken, lambda *unused: None, lambda *unused: [1.0]):
    vote = ensembles.vote([bad, good, good])
    statuses = [x.status for x in vote(["", ""], ["1", "2"], ["1", "1"])]
    assert statuses == [CORRECT, WRONG]
  (alone,) = ensembles.vote([broken], quorum=1)([""], ["1"], ["1"])
  assert alone == Verdict(None, CRASHED, "OSError: out of order")


def test_ensembles_pickle_and_take_no_rows():
  members = [text.exact_match, text.numeric]
  for verifier in (
      ensembles.vote(members),
      ensembles.product(members),
      ensembles.second_opinion(*members),
  ):
    copy = pickle.loads(pickle.dumps(verifier))
    assert copy([], [], []) == []
    (verdict,) = copy([""], ["2"], ["2"])
    assert verdict.status is CORRECT


def test_errors_name_the_argument():
  for make in (ensembles.vote, ensembles.product):
    with pytest.raises(ValueError, match="verifiers must not be empty"):
      make([])
  for quorum in (0, 3):
    with pytest.raises(ValueError, match="vote: quorum must be in"):
      ensembles.vote([broken] * 2, quorum=quorum)
  with pytest.raises(ValueError, match="expected one common length"):
    ensembles.product([broken])([""], [], [])


def test_options_are_checked(no_jaxtyping):
  with pytest.raises(ValueError, match="tie must be one of correct, wrong"):
    ensembles.vote([broken], tie="first")
  with pytest.raises(ValueError, match="when must be one of rejected"):
    ensembles.second_opinion(broken, broken, when="never")
