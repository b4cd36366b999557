"""Judgements of a gold reward that we know: what runs without any data.

A completion is letters; its gold reward counts some of them for and some
against it. Comparisons follow Bradley and Terry; annotators flip some.
"""

import json
import pathlib

import numpy as np

from experiments import reward_model_data
from experiments.reward_model_data import Data

LETTERS = "abcdef"
GOLD = {"a": 1.0, "b": 0.5, "e": -0.5, "f": -1.0}  # others 0


def gold(prompt: str, completion: str) -> float:
  """Mean value of the letters, times 4, between -4 and 4."""
  del prompt
  letters = [x for x in completion if x.isalpha()]
  return 4 * sum(GOLD.get(x, 0.0) for x in letters) / max(len(letters), 1)


def scorer(prompts, completions, **columns):
  """The gold reward as other commands call a scorer."""
  del columns
  return [gold(p, c) for p, c in zip(prompts, completions)]


def _text(rng, length: int) -> str:
  # Few letters of each text dominate, so that texts differ.
  weights = rng.dirichlet(np.full(len(LETTERS), 0.7))
  return "".join(rng.choice(list(LETTERS), size=length, p=weights))


def _texts(rng, options, count: int) -> list[str]:
  found: list[str] = []
  while len(found) < count:
    low, high = options.min_length, options.max_length
    text = _text(rng, int(rng.integers(low, high + 1)))
    found += [text] * (text not in found)
  return found


def _pair(rng, options, prompt, tie: bool) -> dict:
  first, second = _texts(rng, options, 2)
  gap = gold(prompt, first) - gold(prompt, second)
  names = sorted(options.annotators)
  annotator = names[int(rng.integers(len(names)))]
  users = list(options.users)
  user = users[int(rng.integers(len(users)))] if users else ""
  # Every other user wants the opposite.
  gap = -gap if users and users.index(user) % 2 else gap
  true = 1 if rng.random() < 1 / (1 + np.exp(-gap)) else -1
  flipped = rng.random() < options.annotators[annotator]
  label = -true if flipped else true
  row = dict(annotator=annotator, source="short" if len(first) + len(second)
             < options.min_length + options.max_length else "long")
  row |= dict(user=user) if user else {}
  if tie:
    label = 0 if abs(gap) < options.tie_below else label
    return row | dict(chosen=first, rejected=second, label=label, gold=true)
  pair = (first, second) if label > 0 else (second, first)
  row |= dict(chosen=pair[0], rejected=pair[1], strength=abs(gap))
  return row | dict(gold=true * label)


def _rating(prompt: str, text: str, error: float = 0.0) -> float:
  return float(np.clip(3 + 0.5 * gold(prompt, text) + error, 1, 5))


def _rated(rng, options, prompt: str, row: dict) -> dict:
  """With the ratings of both, for a share of the pairs."""
  if not options.rated or rng.random() >= options.rated:
    return row
  names = ("chosen", "rejected")
  return row | {f"{x}_rating": _rating(prompt, row[x]) for x in names}


def _again(rng, options, row: dict) -> list[dict]:
  """The pair as other annotators have it, who err on their own."""
  others = sorted(set(options.annotators) - {row["annotator"]})
  count = min(options.labels - 1, len(others))
  found = []
  for name in rng.permutation(others)[:count] if count else ():
    wrong = rng.random() < options.annotators[name]
    other = row | dict(annotator=str(name))
    if row.get("label") is not None:
      label = -row["gold"] if wrong else row["gold"]
      found.append(other | dict(label=label if row["label"] else 0))
    elif wrong == (row["gold"] > 0):  # not what the first one says
      swap = dict(chosen=row["rejected"], rejected=row["chosen"])
      found.append(other | swap | dict(gold=-row["gold"]))
    else:
      found.append(other)
  return found


def _rows(rng, kind: str, options, prompt: str) -> list[dict]:
  if kind not in ("pairs", "ties"):
    return [_row(rng, kind, options, prompt)]
  row = _pair(rng, options, prompt, kind == "ties")
  found = [row, *_again(rng, options, row)]
  return [_rated(rng, options, prompt, row) for row in found]


def _row(rng, kind: str, options, prompt: str) -> dict:
  if kind == "ratings":
    (text,) = _texts(rng, options, 1)
    error = 0.2 * rng.normal()
    return dict(completion=text, rating=_rating(prompt, text, error))
  if kind == "rankings":
    texts = _texts(rng, options, 4)
    order = np.argsort([-gold(prompt, x) for x in texts])
    ranks = np.argsort(order) + 1
    return dict(completions=texts, ranks=ranks.tolist())
  texts = [_text(rng, 5) + "." for _ in range(int(rng.integers(2, 5)))]
  labels = [int(gold(prompt, x) >= 0) for x in texts]
  return dict(steps=texts, labels=labels)


def rows(kind: str, options, seed: int) -> list[dict]:
  """Rows in the schema of `reward_model_rows`, as a file would have them.

  Args:
    kind: see `reward_model_rows`.
    options: `config.sample`.
    seed: of everything.
  """
  rng = np.random.default_rng(seed)
  found = []
  for i in range(options.num_prompts):
    prompt = f"{''.join(rng.choice(list(LETTERS), size=3))}{i}"
    for _ in range(options.rows_per_prompt):
      made = _rows(rng, kind, options, prompt)
      found += [dict(prompt=prompt, **row) for row in made]
  return found


def make(kind: str, options, seed: int) -> Data:
  """The same rows, read."""
  found = rows(kind, options, seed)
  return reward_model_data.from_rows(found, kind=kind, name="sample")


def write(path, kind: str, options, seed: int) -> pathlib.Path:
  """The same rows as a file of JSON lines."""
  path = pathlib.Path(path)
  lines = (json.dumps(row) + "\n" for row in rows(kind, options, seed))
  path.write_text("".join(lines))
  return path
