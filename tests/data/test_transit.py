import itertools

import numpy as np
import pytest

from rewardjax.data import transit
from rewardjax.rewards import routes

SIZES = dict(num_lines=4, stops=4)


def test_a_map_depends_on_nothing_but_its_number():
  assert transit.make_map(0, 7, **SIZES) == transit.make_map(0, 7, **SIZES)
  assert transit.make_map(0, 7, **SIZES) != transit.make_map(0, 8, **SIZES)


@pytest.mark.parametrize("index", range(5))
def test_lines_meet_as_often_as_they_should(index):
  city = transit.make_map(1, index, num_lines=5, stops=4, meetings=2)
  seen: set[str] = set()
  for line, stops in city.lines.items():
    assert len(set(stops)) == 4
    assert len(seen & set(stops)) == (0 if line == "L0" else 2)
    seen |= set(stops)
  assert len(city.stations) == 4 + 4 * 2


def _fewest_rides(city, start, goal):
  """By trying all sequences of stations, without a search."""
  rides = {
      (a, b) for stops in city.lines.values() for a in stops for b in stops
  }
  for n in range(4):
    for middle in itertools.product(city.stations, repeat=n):
      path = (start, *middle, goal)
      if all(ride in rides for ride in zip(path, path[1:])):
        return n + 1


def test_routes_are_right_and_have_the_fewest_legs():
  city = transit.make_map(0, 3, num_lines=5, stops=3, meetings=2)
  count = 0
  for ask in transit.all_questions(city):
    legs = [routes.Leg(*leg) for leg in ask.route]
    question = routes.Question(city.lines, ask.start, ask.goal, ask.transfers)
    assert routes.is_route(legs, question)
    assert len(legs) == _fewest_rides(city, ask.start, ask.goal)
    count += 1
  assert count == len(city.stations) * (len(city.stations) - 1)


def test_questions_by_their_transfers():
  city = transit.make_map(2, **SIZES)
  parts = [list(transit.all_questions(city, transfers=t)) for t in range(4)]
  assert sum(map(len, parts)) == len(list(transit.all_questions(city)))
  assert all(ask.transfers == 1 for ask in parts[1]) and parts[1]


def test_no_route_between_parts_that_do_not_meet():
  city = transit.TransitMap({"L0": ("A", "B"), "L1": ("C", "D")})
  assert transit.best_route(city, "A", "C") == ()
  assert len(list(transit.all_questions(city))) == 4


def test_what_a_policy_is_shown():
  city = transit.TransitMap({"L0": ("A", "B"), "L1": ("B", "C")})
  assert transit.describe(city) == "L0: A, B\nL1: B, C"
  picture = transit.raster(city, size=4)
  # A, B, C at (0, 0), (2, 0), (0, 2).
  expected = np.zeros((4, 4, 2), np.float32)
  expected[0, 0, 0] = expected[2, 0, 0] = expected[2, 0, 1] = 1.0
  expected[0, 2, 1], expected[1, 0, 0], expected[1, 1, 1] = 1.0, 0.5, 0.5
  np.testing.assert_array_equal(picture, expected)


def test_names_bad_arguments():
  with pytest.raises(ValueError, match="num_lines must be in"):
    transit.make_map(0, num_lines=0, stops=3)
  with pytest.raises(ValueError, match="meetings must be in"):
    transit.make_map(0, num_lines=2, stops=3, meetings=3)
  city = transit.make_map(0, **SIZES)
  with pytest.raises(ValueError, match="two stations of the map, got 'S0'"):
    transit.best_route(city, "S0", "S0")
  with pytest.raises(ValueError, match="number_of_stations must be in"):
    transit.raster(city, size=4)
