"""One row of `docs/methods.md`."""

from typing import NamedTuple


class Method(NamedTuple):
  """One row: a paper, and how this library builds it.

  slug: names the row, its configs `configs/*/<slug>.py` and its results
    `docs/results/<slug>.json` or `<slug>_<part>.json`.
  title: a short name for people.
  paper: who, what, when.
  functions: the recipe first, if there is one, then its parts.
  tests: files that hold it to the paper.
  shown: what the tests prove, without any training.
  differs: where it is not the paper's, and why.
  configs: files beyond those found by the slug.
  results: prefixes of further result files that belong here.
  switch: fields of a config of `experiments.rlvr` that switch it on there.
  """

  slug: str
  title: str
  paper: str
  functions: tuple[str, ...]
  tests: tuple[str, ...]
  shown: str
  differs: str = ""
  configs: tuple[str, ...] = ()
  results: tuple[str, ...] = ()
  switch: tuple[str, ...] = ()
