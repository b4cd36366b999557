"""What the studies of language models share: scores, imitation.

Everything but `pack` is pure, so that seeds are mapped and steps are scanned.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from experiments import on_policy
from rewardjax.core import probability, reduction
from rewardjax.policies import constraints
from rewardjax.policies.constraints import TokenConstraint
from rewardjax.search import tries
from rewardjax.types import Rollouts

# (params, rollouts) -> logits of every sampled token, `[B, G, T, V]`.
Logits = Callable[[PyTree, Rollouts], Array]


def score(
    logits: Logits,
    params: PyTree,
    rollouts: Rollouts,
    constraint: TokenConstraint | None = None,
) -> Float[Array, "B G T"]:
  """Log-probs of the sampled tokens, as the sampler would have drawn them."""
  found = logits(params, rollouts)
  if constraint is not None:
    fits = constraints.allowed_along(constraint, rollouts.tokens)
    found = constraints.restrict(found, fits)
  return probability.token_log_probs(found, rollouts.tokens)


def inside(trie: tries.Trie) -> TokenConstraint:
  """Allows the sequences of a tree and nothing else."""
  return TokenConstraint(
      0, functools.partial(tries.allowed, trie),
      functools.partial(tries.advance, trie),
  )


class Text(NamedTuple):
  """Token rows and which of their tokens are real."""

  tokens: Int[Array, "*batch T"]
  mask: Bool[Array, "*batch T"]

  def rows(self, index: Int[Array, " B"]) -> "Text":
    """Some of the rows."""
    return Text(self.tokens[index], self.mask[index])


def pack(
    rows: Sequence[Sequence[int]], width: int, *, left: bool = False
) -> Text:
  """Rows padded with 0 to one width, as prompts are if `left`."""
  tokens = np.zeros((len(rows), width), np.int32)
  mask = np.zeros(tokens.shape, bool)
  for i, row in enumerate(rows):
    place = slice(width - len(row), width) if left else slice(len(row))
    tokens[i, place], mask[i, place] = row, True
  return Text(jnp.asarray(tokens), jnp.asarray(mask))


def given(prompts: Text, answers: Text) -> Rollouts:
  """Answers `[B, G, T]` that nobody sampled."""
  return Rollouts(
      *prompts,
      *answers,
      jnp.zeros(answers.tokens.shape),
      jnp.zeros(answers.tokens.shape[:2], bool),
  )


def imitate(
    key: Key[Array, ""],
    logits: Logits,
    params: PyTree,
    draw: Callable[[Array], tuple[Text, Text]],
    measure: Callable[[PyTree, Any], Any] = lambda params, batch: params,
    *,
    num_steps: int,
    learning_rate: float,
) -> PyTree:
  """Supervised training on `draw(key) -> prompts, answers` `[B, T]`.

  Returns what `measure` finds at every step, by default the parameters.
  """

  def collect(key, params, step):
    prompts, answers = draw(key)
    return given(prompts, Text(*(x[:, None] for x in answers)))

  def loss(params, rollouts):
    log_probs = score(logits, params, rollouts)
    return reduction.token_mean(-log_probs, rollouts.mask)

  steps = dict(num_steps=num_steps, learning_rate=learning_rate)
  return on_policy.train(key, params, collect, loss, measure, **steps)[1]
