"""Random transit maps, and the routes through them with fewest transfers.

Map i is the same whatever else is made: it hangs on `(seed, i)` alone.
"""

import collections
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rewardjax.core import checks

Lines = dict[str, tuple[str, ...]]
Leg = tuple[str, str, str]  # line, from, to


class TransitMap(NamedTuple):
  """Lines with their stations in order; lines that share one meet there."""

  lines: Lines

  @property
  def stations(self) -> list[str]:
    """Every station once, sorted."""
    return sorted({name for stops in self.lines.values() for name in stops})


class RouteQuestion(NamedTuple):
  """Two stations, and a route between them with the fewest transfers."""

  start: str
  goal: str
  route: tuple[Leg, ...]

  @property
  def transfers(self) -> int:
    """Changes of line that are needed."""
    return len(self.route) - 1


def make_map(
    seed: int, index: int = 0, *, num_lines: int, stops: int, meetings: int = 1
) -> TransitMap:
  """A connected map: each line meets `meetings` stations of earlier lines.

  Args:
    seed: of the whole data set.
    index: of the map within it.
    num_lines: lines "L0", "L1", ...
    stops: stations of each line.
    meetings: stations that a line shares with earlier ones, fewer than
      `stops`; the first line has none.

  Raises:
    ValueError: if a size is too small.
  """
  checks.at_least("make_map", 1, num_lines=num_lines)
  checks.at_least("make_map", 2, stops=stops)
  checks.within("make_map", 1, stops - 1, meetings=meetings)
  random = np.random.default_rng([seed, index])
  names: list[str] = []
  lines: Lines = {}
  for line in range(num_lines):
    shared = list(random.permutation(names)[:meetings])
    fresh = [f"S{len(names) + i}" for i in range(stops - len(shared))]
    names += fresh
    lines[f"L{line}"] = tuple(map(str, random.permutation(shared + fresh)))
  return TransitMap(lines)


def best_route(transit: TransitMap, start: str, goal: str) -> tuple[Leg, ...]:
  """A route with the fewest transfers, by breadth-first search; () if none.

  Of several the first in the order of lines and stops is taken.

  Raises:
    ValueError: if start is goal, or a station is not on the map.
  """
  known = set(transit.stations)
  if start == goal or not {start, goal} <= known:
    raise ValueError(
        "best_route: start and goal must be two stations of the map, got "
        f"{start!r} and {goal!r}."
    )
  reached: dict[str, tuple[Leg, ...]] = {start: ()}
  queue = collections.deque([start])
  while queue and goal not in reached:
    here = queue.popleft()
    for line, stops in transit.lines.items():
      for stop in stops if here in stops else ():
        if stop not in reached:
          reached[stop] = (*reached[here], (line, here, stop))
          queue.append(stop)
  return reached.get(goal, ())


def all_questions(
    transit: TransitMap, *, transfers: int | None = None
) -> Iterator[RouteQuestion]:
  """Every ordered pair of connected stations, in a fixed order.

  Args:
    transit: the map.
    transfers: only those that need as many; None means all.
  """
  for start in transit.stations:
    for goal in transit.stations:
      route = best_route(transit, start, goal) if start != goal else ()
      if route and transfers in (None, len(route) - 1):
        yield RouteQuestion(start, goal, route)


def describe(transit: TransitMap) -> str:
  """The map as text, one line of it a row: `L0: S1, S4, S2`."""
  return "\n".join(f"{k}: {', '.join(v)}" for k, v in transit.lines.items())


def raster(transit: TransitMap, *, size: int = 16) -> np.ndarray:
  """The map as a picture, one channel a line, for policies that see.

  Stations sit on a grid of `size` x `size` cells in the order of their names,
  column by column; a line is 1 at its stations and 0.5 between those that
  follow each other.

  Returns:
    Float32 `[size, size, number of lines]`.

  Raises:
    ValueError: if there are more stations than cells of every other row and
      column.
  """
  names, side = transit.stations, size // 2
  checks.within("raster", 1, side * side, number_of_stations=len(names))
  place = {n: (2 * (i % side), 2 * (i // side)) for i, n in enumerate(names)}
  picture = np.zeros((size, size, len(transit.lines)), np.float32)
  for channel, stops in enumerate(transit.lines.values()):
    for a, b in zip(stops, stops[1:]):
      steps = np.linspace(place[a], place[b], 2 * size).round().astype(int)
      picture[steps[:, 0], steps[:, 1], channel] = 0.5
    for stop in stops:
      picture[(*place[stop], channel)] = 1.0
  return picture
