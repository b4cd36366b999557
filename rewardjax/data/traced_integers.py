"""Arithmetic with its working shown, and the working corrupted at set rates.

    3142:3;2;3;3;=3.     inputs, ":", a line per step, "=", the answer, "."

Item i depends on the fields and on i alone. Inputs come from one stream and
noise from another: data sets that differ in noise hold the same problems.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from rewardjax.core import checks, random
from rewardjax.data import traces
from rewardjax.types import Scalar

_PROGRAMS = {
    "affine": traces.affine,
    "sum": traces.running_sum,
    "product": traces.product,
    "median": traces.median,
    "sort": traces.selection_sort,
}
_KINDS = ("replace", "delete", "swap")
_SPLITS = ("train", "test")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Traced(NamedTuple):
  """One sample; every array has the generator's fixed shapes.

  prompt: the inputs, and the mark after them.
  tokens: the trace, a mark, the answer and the end; padded right.
  mask: True on real tokens; only deletion makes it short.
  in_trace: True on tokens of the trace.
  replaced: True on tokens that noise drew anew, perhaps as they were. Not to
    be counted when a loss is measured.
  answer: as written in the sample.
  truth: the right one.
  noised: whether this sample was chosen for noise.
  """

  prompt: Int[Array, " P"]
  tokens: Int[Array, " T"]
  mask: Bool[Array, " T"]
  in_trace: Bool[Array, " T"]
  replaced: Bool[Array, " T"]
  answer: Int[Array, " A"]
  truth: Int[Array, " A"]
  noised: Bool[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TracedIntegers:
  """An endless sequence of traced problems: `generator[i]` is a row.

  Attributes:
    seed: of the whole sequence.
    split: "train" or "test"; each has its own stream.
    program: "affine", "sum", "product", "median" or "sort".
    base: symbols are 0 .. base-1, at most 36.
    length: L, inputs per problem.
    redundancy: copies of all inputs and of the state before it at the start
      of each line. Static noise hits each copy by itself, so that a reader
      can compare them; dynamic noise was there before they were made.
    noise: "static" (the finished trace), "dynamic" (the running program) or
      "none".
    kind: of static noise: "replace" draws symbols anew, "delete" leaves them
      out, "swap" exchanges neighbouring lines. Line ends stay.
    rate: share of samples that are noised.
    intensity: chance of each symbol (or line) of a noised sample.
  """

  seed: int = 0
  split: Literal["train", "test"] = "train"
  program: str = "affine"
  base: int = 5
  length: int = 5
  redundancy: int = 0
  noise: str = "none"
  kind: str = "replace"
  rate: Scalar = 1.0
  intensity: Scalar = 0.0

  def __post_init__(self):
    where = "TracedIntegers"
    checks.one_of(where, _SPLITS, split=self.split)
    checks.one_of(where, _PROGRAMS, program=self.program)
    checks.one_of(where, ("none", "static", "dynamic"), noise=self.noise)
    checks.one_of(where, _KINDS, kind=self.kind)
    checks.within(where, 2, len(_DIGITS), base=self.base)
    checks.at_least(where, 0, seed=self.seed, redundancy=self.redundancy)
    checks.at_least(where, 1, length=self.length)
    checks.probability(where, rate=self.rate, intensity=self.intensity)

  @functools.cached_property
  def compiled(self) -> traces.Program:
    """The program for this base and length."""
    return _PROGRAMS[self.program](self.base, self.length)

  @property
  def alphabet(self) -> str:
    """Character of each token id: symbols, line end, marks, end."""
    return _DIGITS[: self.base] + ";:=."

  def sample(
      self, key: Key[Array, ""], noise_key: Key[Array, ""]
  ) -> Traced:
    """One sample as arrays; jittable, both keys are consumed."""
    inputs = jax.random.randint(key, (self.length,), 0, self.base)
    which_key, noise_key = jax.random.split(noise_key)
    noised = jax.random.uniform(which_key) < self.rate
    noised &= self.noise != "none"
    clean = traces.run(self.compiled, inputs)
    done = clean
    if self.noise == "dynamic":
      intensity = jnp.where(noised, self.intensity, 0.0)
      done = traces.run(self.compiled, inputs, noise_key, intensity=intensity)
    lines, copied = self._lines(inputs, done)
    mask = jnp.ones(lines.shape, bool)
    if self.noise == "static":
      lines, mask, copied = self._corrupt(noise_key, lines, noised)
    return self._assemble(inputs, lines, mask, copied, done, clean, noised)

  def _lines(self, inputs, done):
    """Lines [N, W] with their copies, and which symbols noise drew."""
    steps = done.states.shape[0]
    every_line = jnp.broadcast_to(inputs, (steps, inputs.shape[0]))
    copy = jnp.concatenate([every_line, done.before], axis=1)
    parts = [copy] * self.redundancy + [done.states]
    lines = jnp.concatenate([*parts, jnp.full((steps, 1), self.base)], axis=1)
    fresh = jnp.zeros(lines.shape, bool)
    end = lines.shape[1] - 1
    start = end - done.states.shape[1]
    return lines, fresh.at[:, start:end].set(done.replaced)

  def _corrupt(self, key, lines, noised):
    """Static noise on lines [N, W]; their ends stay."""
    strength = jnp.where(noised, self.intensity, 0.0)
    symbols = lines < self.base
    kept, none = jnp.ones(lines.shape, bool), jnp.zeros(lines.shape, bool)
    if self.kind == "swap":
      order = traces.swap_lines(key, lines.shape[0], intensity=strength)
      return lines[order], kept, none
    if self.kind == "delete":
      left = traces.delete_symbols(key, kept, intensity=strength)
      return lines, left | ~symbols, none
    new, hit = traces.replace_symbols(
        key, lines, base=self.base, intensity=strength
    )
    return jnp.where(symbols, new, lines), kept, hit & symbols

  def _assemble(self, inputs, lines, mask, replaced, done, clean, noised):
    line_end, colon, equals, stop = range(self.base, self.base + 4)
    del line_end
    prompt = jnp.append(inputs, colon)
    tail = jnp.concatenate(
        [jnp.array([equals]), done.answer, jnp.array([stop])]
    )
    pad = lambda x, fill: jnp.append(x.ravel(), jnp.full(tail.shape, fill))
    tokens = jnp.append(lines.ravel(), tail)
    mask, in_trace = pad(mask, True), pad(jnp.ones(lines.shape, bool), False)
    replaced = pad(replaced, False)
    # Deleted tokens move behind the rest, which keeps its order.
    order = jnp.argsort(~mask, stable=True)
    mask = mask[order]
    real = lambda x: x[order] & mask
    return Traced(
        prompt,
        jnp.where(mask, tokens[order], 0),
        mask,
        real(in_trace),
        real(replaced),
        done.answer,
        clean.answer,
        noised,
    )

  def stream(self, key: Key[Array, ""], ids: Int[Array, " B"]) -> Traced:
    """What `batch` returns if `key` is that of the seed; jittable."""
    return self._drawn(jax.random.fold_in(key, _SPLITS.index(self.split)), ids)

  def _drawn(self, key, ids):
    keys, noise_keys = (
        random.keys_by_id(key, ids) for key in jax.random.split(key)
    )
    return jax.vmap(self.sample)(keys, noise_keys)

  def batch(self, ids: Int[Array, " B"]) -> Traced:
    """Samples of the given ids, as arrays with a leading axis."""
    key = jax.random.key(self.seed)
    key = jax.random.fold_in(key, _SPLITS.index(self.split))
    # What is left may choose a program: it is compiled once for all the rest.
    kind = dataclasses.replace(
        self, seed=0, split=_SPLITS[0], rate=1.0, intensity=0.0
    )
    return _batch(kind, key, float(self.rate), float(self.intensity), ids)

  def rows(self, start: int, stop: int) -> list[dict[str, str | bool]]:
    """Items start .. stop-1 as rows of text."""
    checks.at_least("TracedIntegers", 0, start=start)
    if stop <= start:
      return []
    made = jax.tree.map(np.asarray, self.batch(jnp.arange(start, stop)))
    return [self._row(Traced(*fields)) for fields in zip(*made)]

  def __getitem__(self, index: int) -> dict[str, str | bool]:
    return self.rows(index, index + 1)[0]

  def _row(self, item: Traced) -> dict[str, str | bool]:
    text = lambda ids: "".join(self.alphabet[i] for i in ids)
    return {
        "prompt": text(item.prompt),
        "completion": text(item.tokens[item.mask]),
        "answer": text(item.truth),
        "noised": bool(item.noised),
    }


@functools.partial(jax.jit, static_argnums=0)
def _batch(kind, key, rate, intensity, ids):
  """A generator but for its numbers, its key and those; ids [B]."""
  generator = dataclasses.replace(kind, rate=rate, intensity=intensity)
  return generator._drawn(key, ids)
