import math

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import scores, verdicts

ALL = [
    Verdict(1.0, Status.CORRECT),
    Verdict(0.25, Status.WRONG),
    Verdict(None, Status.UNPARSABLE),
    Verdict(None, Status.TIMEOUT),
    Verdict(None, Status.CRASHED),
    Verdict(0.0, Status.WRONG),
]


def test_unknown_is_invalid_and_never_zero():
  """Pain 22 (NeMo-RL #431, #2207): a failure is no false negative."""
  reward = verdicts.to_reward(ALL, (2, 3), unparsable="invalid")
  np.testing.assert_array_equal(
      reward.valid, [[True, True, False], [False, False, True]]
  )
  np.testing.assert_array_equal(reward.value[reward.valid], [1.0, 0.25, 0.0])
  assert jnp.isnan(reward.value[~reward.valid]).all()
  assert reward.value.dtype == jnp.float32


def test_each_status_has_its_own_policy():
  reward = verdicts.to_reward(ALL, unparsable=-1, timeout=-2.0, crashed=-3.0)
  np.testing.assert_array_equal(reward.value, [1.0, 0.25, -1, -2, -3, 0])
  assert reward.valid.all()
  empty = verdicts.to_reward([], (0, 4), unparsable=0.0)
  assert empty.value.shape == empty.valid.shape == (0, 4)


def test_counts_and_shares_by_hand():
  assert verdicts.status_counts(ALL) == dict(
      wrong=2, correct=1, unparsable=1, timeout=1, crashed=1
  )
  metrics = verdicts.status_metrics(ALL)
  assert metrics["verifier/wrong"].value == pytest.approx(2 / 6)
  merged = metrics["verifier/wrong"].merge(
      verdicts.status_metrics(ALL[:2])["verifier/wrong"]
  )
  assert merged.value == pytest.approx(3 / 8)
  assert verdicts.status_metrics([])["verifier/wrong"].value == 0


@pytest.mark.parametrize(
    "score", [None, math.nan, math.inf, "1", 1j, [1.0], 10**400]
)
def test_what_is_no_number_crashes_its_item_only(score):
  """Pain 7 (TRL #5773, #5775, #5902): None or NaN poisons no sibling."""
  results = scores.from_scores([1.0, score, 0.0], count=3)
  assert [x.status for x in results] == [
      Status.CORRECT,
      Status.CRASHED,
      Status.WRONG,
  ]
  assert results[1].score is None and results[1].detail


@pytest.mark.parametrize(
    "found", [None, 3.0, "11", {"a": 1, "b": 2}, [1.0], [1.0] * 3, np.array(1)]
)
def test_what_is_no_list_of_that_length_crashes_all(found):
  results = scores.from_scores(found, count=2)
  assert [x.status for x in results] == [Status.CRASHED] * 2


def test_numbers_of_any_library_are_scores():
  found = [True, np.bool_(False), np.float32(0.5), np.array(2), jnp.array(3)]
  results = scores.from_scores(found, count=5)
  assert [x.score for x in results] == [1.0, 0.0, 0.5, 2.0, 3.0]
  results = scores.from_scores(
      np.array([0.5, 1.0]), count=2, correct_above=0.5
  )
  assert [x.status for x in results] == [Status.WRONG, Status.CORRECT]
  assert scores.from_scores(jnp.array([0.5]), count=1)[0].score == 0.5


def test_verdicts_pass_unless_their_score_is_missing():
  odd = [Verdict(None, Status.CORRECT), Verdict(math.nan, Status.WRONG)]
  results = scores.from_scores(ALL + odd, count=8)
  assert results[:6] == ALL
  assert [x.status for x in results[6:]] == [Status.CRASHED] * 2


@pytest.mark.parametrize("policy", ["zero", None, math.nan, math.inf])
def test_bad_policies_are_errors(policy, no_jaxtyping):
  with pytest.raises(ValueError, match="unparsable must be a finite number"):
    verdicts.to_reward([], unparsable=policy)


def test_errors_name_the_problem():
  with pytest.raises(
      ValueError, match=r"6 verdicts do not fill shape \(4, 2\)"
  ):
    verdicts.to_reward(ALL, (4, 2), unparsable=0.0)
  with pytest.raises(ValueError, match="known verdict has no score"):
    verdicts.to_reward([Verdict(None, Status.WRONG)], unparsable=0.0)
