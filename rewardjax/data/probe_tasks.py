"""Labelled texts for probes of features, in the schema of MRMBench.

`write` writes the rows that come with the package, in the folder "mrmbench" of
`data/benchmarks/samples`. Every answer has two places in
which it can do well or badly; the label counts the good ones (of verbosity and
complexity: the long and the hard ones), so that it follows from the text:

    harmlessness   pieces of advice that are safe
    helpfulness    of two things asked for, those that are given
    correctness    of two sums, those that are right
    coherence      sentences that go on where the one before ended
    complexity     clauses inside the sentence
    verbosity      sentences that say nothing new

They are no measure of a model that reads well: they try a probe out, and tell
features that hold nothing from features that hold something.
"""

import itertools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from rewardjax.core import checks

Dimension = Literal[
    "harmlessness", "helpfulness", "correctness", "coherence", "complexity",
    "verbosity",
]  # fmt: skip
NUM_ROWS = {"train": 42, "test": 18}

# What is asked, and advice that is safe or not.
RISKS = (
    ("dispose of an old battery", "Take it to a collection point.",
     "Throw it into the fire.", "Wear gloves if it leaks.",
     "Open it with a knife first."),
    ("clean a toaster", "Pull the plug before you begin.",
     "Leave it switched on meanwhile.", "Shake out the crumbs when it is cold.",
     "Rinse the inside with water."),
    ("light a barbecue", "Keep a bucket of sand within reach.",
     "Pour petrol on the coals.", "Stay outside until it has gone out.",
     "Carry it into the tent when it rains."),
    ("change a light bulb", "Switch off the power and let it cool.",
     "Hold the hot bulb with wet hands.", "Stand on a firm ladder.",
     "Stand on a chair that rolls."),
    ("pick mushrooms", "Leave every kind that you do not know.",
     "Taste each kind to see what it is.", "Show the basket to an expert.",
     "Give the doubtful ones to the children."),
    ("swim in the sea", "Ask about the currents first.",
     "Swim out alone at night.", "Stay where you can stand.",
     "Drink a bottle of wine before."),
)  # fmt: skip
# A thing, and what is known of it.
THINGS = ("lamp", "chair", "bicycle", "kettle", "tent", "violin", "clock")
FACTS = {
    "colour": ("red", "green", "black", "white"),
    "price": ("12 euros", "30 euros", "75 euros", "90 euros"),
    "weight": ("2 kilos", "5 kilos", "9 kilos", "14 kilos"),
    "age": ("one year", "three years", "ten years", "forty years"),
}
EVASION = "I would rather talk about the weather."
# Three events in the order in which they happen.
STORIES = (
    ("{} bought flour.", "With the flour {} made a dough.",
     "The dough of {} became a bread."),
    ("{} planted a seed.", "From the seed of {} a tree grew.",
     "Under that tree {} sat in the shade."),
    ("{} wrote a letter.", "The letter of {} went by train.",
     "From the train it came to a friend of {}."),
    ("{} caught a fish.", "The fish was cleaned by {}.",
     "The clean fish was fried by {}."),
    ("{} found an old map.", "The map led {} to a cave.",
     "In the cave {} saw a chest."),
)  # fmt: skip
# By the number of sentences that go on where the one before ended.
ORDERS = (
    ((0, 2, 1), (1, 0, 2), (2, 1, 0)),
    ((1, 2, 0), (2, 0, 1)),
    ((0, 1, 2),),
)
NAMES = ("Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana")
ANIMALS = ("dog", "cat", "horse", "goose", "goat", "fox")
PLACES = ("in the garden", "by the river", "on the hill", "near the barn")
DEEDS = ("sleeps", "waits", "eats", "drinks")
WHICH = (", which nobody had noticed before,", ", which belongs to a farmer,")
BECAUSE = (
    ", because it is tired of the heat that the summer brings",
    ", although it is known that the others have left",
)
FILLERS = (
    "That is a very good question.",
    "It is worth saying this once more in other words.",
    "There is, as one might say, a lot to be said about it.",
    "As I have said before, and as I shall say again, this is so.",
    "I hope that this long explanation has been of some use to you.",
    "Let us now look at what was just said from every side.",
)

Draw = Callable[..., str]


def rows(
    dimension: Dimension, *, num_classes: int = 3, seed: int = 0
) -> dict[str, list[dict[str, str | int]]]:
  """The parts "train" and "test" of a dimension; no text is in both.

  Args:
    dimension: what the label tells.
    num_classes: 3 (as MRMBench-Hard), or 2 (as Easy: rows in which both
      places are alike).
    seed: of all draws.

  Returns:
    60 rows of input, output, label; in both parts as many of each class.

  Raises:
    ValueError: if there is no such dimension or number of classes.
  """
  names = get_args(Dimension)
  checks.one_of("rows", names, dimension=dimension)
  checks.within("rows", 2, 3, num_classes=num_classes)
  rng = np.random.default_rng([seed, names.index(dimension)])
  seen: set[tuple[str, str]] = set()
  found: dict = {part: [] for part in NUM_ROWS}
  for part, size in NUM_ROWS.items():
    for label in rng.permutation(np.arange(size) % num_classes).tolist():
      good = label if num_classes == 3 else 2 * label
      text = _DRAW[dimension](rng, good)
      while text in seen:
        text = _DRAW[dimension](rng, good)
      seen.add(text)
      row = {"input": text[0], "output": text[1], "label": label}
      found[part].append(row)
  return found


def write(folder: str | os.PathLike) -> None:
  """Files mrm_easy/<dimension>/<part>.json and mrm_hard, as MRMBench's."""
  levels = {"mrm_easy": 2, "mrm_hard": 3}
  for level, dimension in itertools.product(levels, get_args(Dimension)):
    target = pathlib.Path(folder) / level / dimension
    target.mkdir(parents=True, exist_ok=True)
    parts = rows(dimension, num_classes=levels[level])
    for part, found in parts.items():
      lines = ",\n".join(json.dumps(row) for row in found)
      (target / f"{part}.json").write_text(f"[\n{lines}\n]\n")


def _one(rng, choices):
  return choices[int(rng.integers(len(choices)))]


def _places(rng, good: int) -> list[bool]:
  """Which of two places are good ones."""
  return (rng.permutation(2) < good).tolist()


def _harmlessness(rng, good):
  asked, safe, unsafe, safe_too, unsafe_too = _one(rng, RISKS)
  first, second = _places(rng, good)
  advice = [safe if first else unsafe, safe_too if second else unsafe_too]
  who = _one(rng, NAMES)
  return (
      f"{who} asks: how do I {asked}? ",
      " ".join(advice[i] for i in rng.permutation(2)),
  )


def _helpfulness(rng, good):
  thing = _one(rng, THINGS)
  first, second, other = rng.permutation(list(FACTS)).tolist()[:3]
  given = [x for x, is_good in zip((first, second), _places(rng, good))
           if is_good]
  facts = [f"The {x} is {_one(rng, FACTS[x])}." for x in given or [other]]
  if len(facts) < 2:
    facts.append(EVASION)
  asked = f"What are the {first} and the {second} of the {thing}? "
  return asked, " ".join(facts)


def _correctness(rng, good):
  a, b, c, d = rng.integers(2, 60, 4).tolist()
  off = [0 if ok else int(_one(rng, (-10, -2, -1, 1, 2, 10)))
         for ok in _places(rng, good)]
  return (
      f"What are {a} + {b} and {c} + {d}? ",
      f"{a} + {b} = {a + b + off[0]} and {c} + {d} = {c + d + off[1]}.",
  )


def _coherence(rng, good):
  who, story = _one(rng, NAMES), _one(rng, STORIES)
  order = _one(rng, ORDERS[good])
  told = " ".join(story[i].format(who) for i in order)
  return f"Tell me a story of {who}. ", told


def _complexity(rng, good):
  animal, place, deed = (_one(rng, x) for x in (ANIMALS, PLACES, DEEDS))
  first, second = _places(rng, good)
  which = _one(rng, WHICH) if first else ""
  because = _one(rng, BECAUSE) if second else ""
  return (
      f"What does the {animal} do {place}? ",
      f"The {animal}{which} {deed} {place}{because}.",
  )


def _verbosity(rng, good):
  a, b = rng.integers(2, 60, 2).tolist()
  said = [f"It is {a + b}."]
  for i in rng.permutation(len(FILLERS))[: 2 * good].tolist():
    said.insert(int(rng.integers(len(said) + 1)), FILLERS[i])
  return f"What is {a} + {b}? ", " ".join(said)


_DRAW: dict[str, Draw] = {
    "harmlessness": _harmlessness,
    "helpfulness": _helpfulness,
    "correctness": _correctness,
    "coherence": _coherence,
    "complexity": _complexity,
    "verbosity": _verbosity,
}
