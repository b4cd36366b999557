"""Rewards of routes through a transit map: whole, in parts, by difficulty.

A map is its lines: the stations of each, in order. A route is legs, each on
one line from a station to another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import text

Lines = Mapping[str, Sequence[str]]
City = Literal["easy", "middle", "hard"]

_CITY_WEIGHTS = {"easy": 1.0, "middle": 1.2, "hard": 1.5}
_MOST_DETAIL = 10.0
_LEG = re.compile(r"([^:\n]+):\s*([^\n]+?)\s*->\s*([^\n]+)")


class Leg(NamedTuple):
  """A ride on one line."""

  line: str
  depart: str
  arrive: str


class Question(NamedTuple):
  """From where to where, on which map, and how hard that is.

  transfers: of a route with the fewest.
  """

  lines: Lines
  start: str
  goal: str
  transfers: int
  city: City = "easy"


def clean(name: str) -> str:
  """A name without case, blanks, hyphens, brackets or the word "station"."""
  name = re.sub(r"\([^)]*\)", "", name.casefold())
  return re.sub(r"\bstation\b|[^\w]|_", "", name)


def _stations(lines: Lines) -> dict[str, list[str]]:
  return {clean(line): list(map(clean, s)) for line, s in lines.items()}


def is_route(legs: Sequence[Leg], question: Question) -> bool:
  """Whether the legs exist, join, and lead from the start to the goal."""
  if not legs or not _ends_match(legs, question):
    return False
  stations = _stations(question.lines)
  rides = all(
      {clean(leg.depart), clean(leg.arrive)} <= set(
          stations.get(clean(leg.line), ())
      )
      for leg in legs
  )
  joined = all(
      clean(a.arrive) == clean(b.depart) for a, b in zip(legs, legs[1:])
  )
  return rides and joined


def _ends_match(legs, question) -> bool:
  ends = clean(legs[0].depart), clean(legs[-1].arrive)
  return ends == (clean(question.start), clean(question.goal))


def route_detail(
    legs: Sequence[Leg], question: Question, *, legacy: bool = False
) -> float:
  """Partial credit for a route, right or wrong.

  2 for both ends, without which there is nothing. Then for each leg: 3 for a
  line that exists (4 for a line that serves both ends, if no transfer is
  needed), 1 for a transfer that joins two legs and is needed, -5 for a leg
  beyond those needed. At most 10.

  Args:
    legs: of the route; none is 0.
    question: what was asked.
    legacy: as released: the last leg of the shortest route counts as one too
      many already.

  References:
    "RewardMap: Tackling Sparse Rewards in Fine-grained Visual Reasoning via
      Multi-Stage Reinforcement Learning", 2025.
  """
  if not legs or not _ends_match(legs, question):
    return 0.0
  stations = _stations(question.lines)
  needed = question.transfers + (0 if legacy else 1)
  score = 2.0
  for i, leg in enumerate(legs):
    served = stations.get(clean(leg.line))
    score -= 5.0 if i + 1 > needed else 0.0
    score += _line_score(served, question)
    joins = i + 1 < len(legs) and clean(leg.arrive) == clean(legs[i + 1].depart)
    rides = served and {clean(leg.depart), clean(leg.arrive)} <= set(served)
    score += float(bool(joins and rides and i + 1 <= question.transfers))
  return min(score, _MOST_DETAIL)


def _line_score(served, question) -> float:
  """Points for the line of a leg; `served` are its stations or None."""
  if served is None:
    return 0.0
  if question.transfers > 0:
    return 3.0
  ends = {clean(question.start), clean(question.goal)}
  return 4.0 if ends <= set(served) else 0.0


def difficulty_weight(city: City, *, transfers: int = 0) -> float:
  """1, 1.2 or 1.5 by city, and half a point more if transfers are needed."""
  checks.one_of("difficulty_weight", get_args(City), city=city)
  checks.at_least("difficulty_weight", 0, transfers=transfers)
  return _CITY_WEIGHTS[city] + (0.5 if transfers > 0 else 0.0)


def route_reward(
    legs: Sequence[Leg], question: Question, *, legacy: bool = False
) -> float:
  """weight * (10 [right] + detail / 2): a wrong route never beats a right one.

  A wrong one has at most half of 10.
  """
  weight = difficulty_weight(question.city, transfers=question.transfers)
  detail = route_detail(legs, question, legacy=legacy)
  return weight * (10.0 * is_route(legs, question) + 0.5 * detail)


def parse_route(said: str) -> list[Leg]:
  """The lines `Line: Station -> Station` of a text, in their order."""
  return [Leg(*map(str.strip, found)) for found in _LEG.findall(said)]


def routes(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    legacy: bool = False,
) -> list[Verdict]:
  """`route_reward` of the routes that completions write down.

  Args:
    prompts: not read.
    completions: with lines `Line: Station -> Station`.
    references: JSON with the fields of `Question`.
    legacy: see `route_detail`.

  Returns:
    "Correct" for right routes, unparsable without a leg, crashed where a
    reference is no question.

  Raises:
    ValueError: if lengths differ.
  """
  text.check_lengths("routes", prompts, completions, references)
  return [_judge(*x, legacy) for x in zip(completions, references)]


def _judge(said, reference, legacy) -> Verdict:
  try:
    question = Question(**json.loads(reference))
    difficulty_weight(question.city, transfers=question.transfers)
    _stations(question.lines)
  except (ValueError, TypeError, AttributeError) as error:
    detail = f"reference {reference[:40]!r}: {error}"
    return Verdict(None, Status.CRASHED, detail)
  legs = parse_route(said)
  if not legs:
    return Verdict(None, Status.UNPARSABLE, "no leg")
  score = route_reward(legs, question, legacy=legacy)
  right = is_route(legs, question)
  return Verdict(score, Status.CORRECT if right else Status.WRONG)
