"""Questions about a transit map, from scratch: parts of a route, and stages."""

import functools
import itertools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import answers, models, speller, tables
from experiments.studies import Study
from rewardjax.data import curricula, transit
from rewardjax.rewards import routes
from rewardjax.rewards.verifiers import text

LENGTH = 4  # tokens of an answer: two legs of a line and a station each
SERVED, COUNT, ROUTE = range(3)  # kinds of questions
SHORT = ("yes", "no", "1", "2", "3")
EASY, DIRECT, PLANNING = range(3)  # stages


class Vocabulary(NamedTuple):
  """Tokens: the end, lines, stations, short answers, kinds of questions."""

  lines: tuple[str, ...]
  stations: tuple[str, ...]

  @property
  def short(self) -> int:
    """The first short answer."""
    return 1 + len(self.lines) + len(self.stations)

  @property
  def size(self) -> int:
    """Of everything."""
    return self.short + len(SHORT) + 3

  def of(self, name: str) -> int:
    """The token of a line or a station."""
    return 1 + (*self.lines, *self.stations).index(name)

  def ask(self, kind: int, *names: str) -> list[int]:
    """The tokens of a question."""
    return [self.short + len(SHORT) + kind, *map(self.of, names)]

  def answers(self) -> list[tuple[int, ...]]:
    """Routes of one and of two legs, and short answers."""
    legs = itertools.product(map(self.of, self.lines),
                             map(self.of, self.stations))
    legs = list(legs)
    one = [(*leg, 0) for leg in legs]
    two = [(*a, *b) for a, b in itertools.product(legs, repeat=2)]
    return one + two + [(self.short + i, 0) for i in range(len(SHORT))]

  def text(self, row: tuple[int, ...], start: str) -> str:
    """What an answer says to somebody at `start`."""
    names = ("", *self.lines, *self.stations, *SHORT)
    if row[0] >= self.short:
      return names[row[0]]
    legs, here = [], start
    for line, arrive in zip(row[::2], row[1::2]):
      if line:
        legs.append(f"{names[line]}: {here} -> {names[arrive]}")
        here = names[arrive]
    return "\n".join(legs)


class Question(NamedTuple):
  """Tokens, the reference of its verifier, the stage, and where it starts."""

  tokens: list[int]
  reference: str
  stage: int
  start: str = ""


def _easy(city: transit.TransitMap, words: Vocabulary) -> list[Question]:
  """Does a line serve a station, and how many lines do."""
  found = []
  for station in words.stations:
    serving = [line for line in words.lines if station in city.lines[line]]
    for line in words.lines:
      tokens = words.ask(SERVED, line, station)
      says = "yes" if line in serving else "no"
      found.append(Question(tokens, says, EASY))
    tokens = words.ask(COUNT, station)
    found.append(Question(tokens, str(len(serving)), EASY))
  return found


def _routes(city: transit.TransitMap, words: Vocabulary) -> list[Question]:
  """All journeys with at most one transfer."""
  found = []
  for asked in transit.all_questions(city):
    question = routes.Question(
        city.lines, asked.start, asked.goal, asked.transfers
    )
    if asked.transfers <= 1:
      found.append(Question(
          words.ask(ROUTE, asked.start, asked.goal),
          json.dumps(question._asdict()),
          PLANNING if asked.transfers else DIRECT,
          asked.start,
      ))
  return found


def _judge(verifier, words, questions):
  listed = words.answers()
  said = functools.cache(
      lambda start: [*(words.text(x, start) for x in listed), "?"]
  )
  return answers.judge(
      verifier, listed, [said(q.start) for q in questions],
      [q.reference for q in questions], vocab_size=words.size,
  )


def _join(easy: answers.Judged, whole: answers.Judged) -> answers.Judged:
  """Easy questions have no parts: 10 or 0, as much as a whole route."""
  scores = jnp.concatenate([10 * easy.scores, whole.scores])
  return whole._replace(
      scores=scores, right=jnp.concatenate([easy.right, whole.right])
  )


def _right_answers(words, judged, rows):
  """All right answers of some questions, as many for each."""
  listed = words.answers()
  found = [np.flatnonzero(judged.right[row]) for row in rows]
  most = max(map(len, found))
  # No token at all stands where a question has fewer: it is left out below.
  flat = [listed[i] for row in found for i in row]
  packed = models.pack(flat, LENGTH)
  place = np.full((len(rows), most), len(flat))
  start = 0
  for i, row in enumerate(found):
    place[i, : len(row)] = start + np.arange(len(row))
    start += len(row)
  add = lambda x: jnp.concatenate([x, jnp.zeros((1, LENGTH), x.dtype)])
  return models.Text(*(add(x)[place] for x in packed))


def rewardmap(
    *, seed, num_seeds, city, width, boundaries, learning, margin
) -> Study:
  """GRPO on planning alone, against partial credit, stages, and both."""
  city = transit.make_map(**city)
  words = Vocabulary(tuple(city.lines), tuple(city.stations))
  easy, whole = _easy(city, words), _routes(city, words)
  judged = _join(
      _judge(text.exact_match, words, easy),
      _judge(routes.routes, words, whole),
  )
  questions = easy + whole
  asked = models.pack([q.tokens for q in questions], 3, left=True)
  stages = np.array([q.stage for q in questions])
  weights = jnp.asarray(stages == np.arange(3)[:, None], float)
  planning = np.flatnonzero(stages == PLANNING)
  known = models.given(
      asked.rows(planning), _right_answers(words, judged, planning)
  )

  def success(params, _):
    """The exact chance of any right route, over all planning questions."""
    log_probs = models.score(
        speller.logits, params, known, judged.constraint
    )
    chance = jnp.exp(jnp.sum(jnp.where(known.mask, log_probs, 0.0), -1))
    real = jnp.any(known.mask, axis=-1)
    return jnp.mean(jnp.sum(jnp.where(real, chance, 0.0), axis=-1))

  def run(key, arm):
    judged, staged = arm
    init_key, key = jax.random.split(key)

    def chances(step):
      stage = curricula.stage_at(step, boundaries)
      return curricula.stage_weights(
          jnp.where(staged, stage, PLANNING), weights
      )

    params = speller.init(
        init_key, prompt=3, length=LENGTH, vocab=words.size, width=width
    )
    return answers.learn(
        key, params, judged, asked, chances, success, readable=True,
        **learning,
    )

  plain = judged._replace(scores=judged.right.astype(float))
  arms = {
      "planning, success": (plain, jnp.array(False)),
      "planning, detail": (judged, jnp.array(False)),
      "stages, success": (plain, jnp.array(True)),
      "stages, detail": (judged, jnp.array(True)),
  }
  lines = tables.stacked(run, arms, seed=seed, num_seeds=num_seeds)
  last = tables.last_means(lines)
  gap = last["stages, detail"] - last["planning, success"]
  return Study(
      "RewardMap: stages and partial credit for routes",
      "Success on planning questions with stages and detail above GRPO on "
      f"planning alone by {margin:g} after as many steps",
      bool(gap >= margin),
      tables.last_rows(lines, "success on planning"),
      {"success": tables.curves(lines, "success on planning")},
      "Success is the exact chance of a right route, over all questions that "
      "need a transfer. Means over seeds with 95 % Student-t intervals.",
  )
