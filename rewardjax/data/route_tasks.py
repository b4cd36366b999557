"""An endless set of questions about routes on random transit maps.

Row i depends on the fields and on i alone. The answer is a route with the
fewest transfers; any right route earns its reward (`rewards.routes`).
"""

import dataclasses
import json
from typing import Literal

import numpy as np

from rewardjax.core import checks
from rewardjax.data import transit

_SPLITS = ("train", "test")
_ASK = (
    "{lines}\nHow do you get from {start} to {goal}? Write a line for each "
    "ride, as in L0: S1 -> S2.\n"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RouteTasks:
  """An endless sequence of questions: `generator[i]` is a row.

  Attributes:
    seed: of the whole sequence, 0 or more.
    split: "train" or "test"; each has maps of its own.
    num_lines: of a map.
    stops: stations of each line.
    meetings: stations that a line shares with earlier ones.
    city: how hard a map counts as: "easy", "middle" or "hard".
  """

  seed: int = 0
  split: Literal["train", "test"] = "train"
  num_lines: int = 3
  stops: int = 4
  meetings: int = 1
  city: Literal["easy", "middle", "hard"] = "easy"

  def __post_init__(self):
    checks.at_least("RouteTasks", 0, seed=self.seed)
    checks.one_of("RouteTasks", _SPLITS, split=self.split)
    checks.one_of("RouteTasks", ("easy", "middle", "hard"), city=self.city)
    self.question(0)  # sizes are checked where they are used

  def question(
      self, index: int
  ) -> tuple[transit.TransitMap, transit.RouteQuestion]:
    """Map `index`, and two of its stations."""
    checks.at_least("RouteTasks", 0, index=index)
    # Even maps train, odd ones test.
    number = 2 * index + _SPLITS.index(self.split)
    city = transit.make_map(
        self.seed, number, num_lines=self.num_lines, stops=self.stops,
        meetings=self.meetings,
    )
    rng = np.random.default_rng([self.seed, number, 1])
    start, goal = map(str, rng.permutation(city.stations)[:2])
    route = transit.best_route(city, start, goal)
    return city, transit.RouteQuestion(start, goal, route)

  def __getitem__(self, index: int) -> dict[str, str | int]:
    """Row `index`; "question" is the reference of `rewards.routes.routes`."""
    city, ask = self.question(index)
    lines = transit.describe(city)
    legs = [f"{line}: {a} -> {b}" for line, a, b in ask.route]
    known = {
        "lines": city.lines, "start": ask.start, "goal": ask.goal,
        "transfers": ask.transfers, "city": self.city,
    }
    return {
        "prompt": _ASK.format(lines=lines, start=ask.start, goal=ask.goal),
        "answer": "\n".join(legs),
        "question": json.dumps(known),
        "transfers": ask.transfers,
    }
