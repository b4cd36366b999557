import json

import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards import routes

Leg = routes.Leg
LINES = {
    "Line 1": ["A", "B", "C"],
    "Line 2": ["C", "D", "E"],
    "Line 3": ["E", "F", "G"],
    "Line 4": ["A", "Z"],
}
GOALS = "CDF"  # with 0, 1, 2 transfers from A
BEST = [
    Leg("Line 1", "A", "C"),
    Leg("Line 2", "C", "E"),
    Leg("Line 3", "E", "F"),
]


def question(transfers, city="easy"):
  return routes.Question(LINES, "A", GOALS[transfers], transfers, city)


def best(transfers):
  legs = BEST[: transfers + 1]
  return [*legs[:-1], legs[-1]._replace(arrive=GOALS[transfers])]


@pytest.mark.parametrize(
    "transfers,legacy,detail,easy,hard",
    [
        (0, True, 1, 10.5, 15.75),
        (1, True, 4, 18.0, 24.0),
        (2, True, 8, 21.0, 28.0),
        (0, False, 6, 13.0, 19.5),
        (1, False, 9, 21.75, 29.0),
        (2, False, 10, 22.5, 30.0),
    ],
)
def test_shortest_routes_of_the_table(transfers, legacy, detail, easy, hard):
  legs = best(transfers)
  ask = question(transfers)
  assert routes.is_route(legs, ask)
  assert routes.route_detail(legs, ask, legacy=legacy) == detail
  assert routes.route_reward(legs, ask, legacy=legacy) == easy
  ask = question(transfers, "hard")
  assert routes.route_reward(legs, ask, legacy=legacy) == hard


def test_wrong_routes_by_hand():
  ask = question(1)
  first, second = best(1)
  cases = [
      ([], 0.0),
      ([second], 0.0),  # another start
      ([first._replace(line="Line 9"), second], 2 + 0 + 3),
      # Legs that do not join: no point for the transfer.
      ([first._replace(arrive="B"), second], 2 + 3 + 3),
      # A line that does not go there counts, its transfer does not.
      ([first._replace(line="Line 3"), second], 2 + 3 + 3),
  ]
  for legs, detail in cases:
    assert not routes.is_route(legs, ask)
    assert routes.route_detail(legs, ask) == detail
    assert routes.route_reward(legs, ask) == 1.5 * detail / 2


def test_a_direct_question_wants_the_line_of_both_ends():
  wrong = [Leg("Line 4", "A", "C")]
  assert routes.route_detail(wrong, question(0)) == 2.0
  assert not routes.is_route(wrong, question(0))


def test_superfluous_legs_cost():
  there_and_back = [
      Leg("Line 1", "A", "B"), Leg("Line 1", "B", "A"), Leg("Line 1", "A", "C")
  ]
  # Right all the same; 2 + 3 * 4 - 2 * 5.
  assert routes.is_route(there_and_back, question(0))
  assert routes.route_detail(there_and_back, question(0)) == 4.0


def test_no_wrong_route_beats_a_right_one():
  most = 0.5 * 10.0
  assert most < 10.0 + 0.5 * min(
      routes.route_detail(best(t), question(t), legacy=True) for t in range(3)
  )


@pytest.mark.parametrize(
    "said,name",
    [
        ("Fo-Tan Station", "fotan"),
        (" central (Hong Kong)", "Central"),
        ("O'Hare", "OHARE"),
    ],
)
def test_names_are_compared_without_their_dress(said, name):
  assert routes.clean(said) == routes.clean(name)
  assert routes.clean("Stationary") == "stationary"


@pytest.mark.parametrize(
    "city,transfers,weight",
    [("easy", 0, 1.0), ("middle", 0, 1.2), ("hard", 2, 2.0)],
)
def test_weights_by_difficulty(city, transfers, weight):
  actual = routes.difficulty_weight(city, transfers=transfers)
  assert actual == pytest.approx(weight)


def test_verdicts_of_written_routes():
  said = [
      "Take\nLine 1: A -> C\nLine 2: C -> D\n",
      "line 1 : a->b",
      "I would walk.",
      "Line 1: A -> C",
  ]
  fields = question(1)._asdict()
  right = [json.dumps(fields)] * 3 + ['{"lines": 3}']
  found = routes.routes([""] * 4, said, right)
  assert [v.status for v in found] == [
      Status.CORRECT, Status.WRONG, Status.UNPARSABLE, Status.CRASHED
  ]
  assert [v.score for v in found] == [21.75, 0.0, None, None]


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="city must be one of easy, middle, ha"):
    routes.difficulty_weight("rural")
  with pytest.raises(ValueError, match="expected one common length"):
    routes.routes([""], [], [])
