import itertools

import jax
import numpy as np
import pytest

from rewardjax.search import step_beam

WORTH = {path: hash_ for hash_, path in enumerate(
    sorted(itertools.chain(*(itertools.product("abc", repeat=k)
                             for k in range(1, 4))),
           key=lambda p: "".join(reversed(p)))
)}
every = lambda key, path, n: "abc"[:n]
value = lambda paths: [float(WORTH[path]) for path in paths]


def search(**changes):
  options = dict(num_beams=2, num_candidates=3, max_steps=3) | changes
  return step_beam.step_beam_search(
      jax.random.key(0),
      options.pop("expand", every),
      options.pop("value", value),
      options.pop("is_final", lambda path: len(path) == 3),
      **options,
  )


def test_one_beam_is_greedy():
  path = ()
  for _ in range(3):
    path = max(((*path, c) for c in "abc"), key=WORTH.get)
  (found,) = search(num_beams=1)
  assert found == (path, WORTH[path], True)


def test_with_enough_beams_it_is_exhaustive():
  best = max((p for p in WORTH if len(p) == 3), key=WORTH.get)
  found = search(num_beams=27)
  assert found[0].path == best and len(found) == 27
  values = [x.value for x in found]
  assert values == sorted(values, reverse=True)


def test_finished_paths_compete_on():
  done = lambda path: path[-1] == "a"
  scores = lambda paths: [2.0 if p == ("a",) else 1.0 for p in paths]
  found = search(value=scores, is_final=done)
  assert found[0] == (("a",), 2.0, True)
  assert not found[1].final or found[1].path[-1] == "a"
  first = search(value=scores, is_final=done, num_beams=1)
  assert first == [(("a",), 2.0, True)]


def test_unknown_values_are_last_and_dead_ends_stop():
  scores = lambda paths: [np.nan if p[-1] == "c" else 0.0 for p in paths]
  found = search(value=scores, max_steps=1, num_beams=3)
  assert [x.path for x in found] == [("a",), ("b",), ("c",)]
  assert found[2].value == -np.inf
  assert search(expand=lambda *_: []) == [((), 0.0, False)]


def test_each_call_has_a_key_of_its_own():
  seen = []

  def expand(key, path, n):
    seen.append(jax.random.key_data(key).tolist())
    return every(key, path, n)

  search(expand=expand)
  assert len({tuple(k) for k in seen}) == len(seen) == 1 + 2 + 2


def test_names_bad_arguments():
  with pytest.raises(ValueError, match="num_beams must be in"):
    search(num_beams=0)
  with pytest.raises(ValueError, match=r"must give 3 values, got shape \(1,\)"):
    search(value=lambda paths: [1.0])
