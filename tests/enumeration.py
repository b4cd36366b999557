"""Exact expectations of policy-gradient estimators over a listable world.

A tabular softmax policy writes sequences of at most T of V symbols; symbol 0
stops. For every draw of a batch (B prompts, G sequences each), every answer
of a noisy verifier and every failure to answer, the harness runs the
estimator, adds up the gradients with their probabilities in float64, and
compares the sum with the exact gradient of what the estimator claims to
ascend.

    python -m tests.enumeration                            # prints the table
    python -m tests.enumeration --write docs/estimators.md
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rewardjax.core.masking import Mean
from rewardjax.environments import bandits
from rewardjax.policies import laws
from rewardjax.types import NoiseRates, Reward, Rollouts

PLAIN = laws.SamplingLaw()
_CHUNK = 4096


class Space(NamedTuple):
  """All S sequences, in NumPy; entries after the end are padding.

  `contexts` numbers the prefix before each token, in `0 .. num_contexts-1`.
  Padding repeats symbol 0 of the empty prefix: it has a log-probability and
  a gradient, so that an estimator which reads it is found out.
  """

  tokens: np.ndarray  # [S, T]
  mask: np.ndarray  # [S, T]
  contexts: np.ndarray  # [S, T]
  num_symbols: int
  num_contexts: int


def make_space(num_symbols: int, length: int, *, stop: bool = True) -> Space:
  """Lists the sequences; without `stop` all have the full length."""
  sequences, prefixes = [], {(): 0}

  def extend(prefix):
    ended = stop and prefix[-1:] == (0,)
    if ended or len(prefix) == length:
      sequences.append(prefix)
      return
    prefixes.setdefault(prefix, len(prefixes))
    for symbol in range(num_symbols):
      extend((*prefix, symbol))

  extend(())
  tokens = np.zeros((len(sequences), length), int)
  contexts, mask = np.zeros_like(tokens), np.zeros(tokens.shape, bool)
  for row, sequence in enumerate(sequences):
    size = len(sequence)
    tokens[row, :size], mask[row, :size] = sequence, True
    contexts[row, :size] = [prefixes[sequence[:t]] for t in range(size)]
  return Space(tokens, mask, contexts, num_symbols, len(prefixes))


class World(NamedTuple):
  """Numbers of one experiment; B prompts, C contexts, V symbols.

  The trained parameters are shared by the prompts, so that prompts compete;
  `offsets` are not trained. `rates` are the verifier's, `believed` what the
  correction is told. A verdict is known with probability `answered`.
  """

  params: Float[Array, "C V"]
  behavior: Float[Array, "C V"]  # the sampler's parameters
  reference: Float[Array, "C V"]
  offsets: Float[Array, "B C V"]
  rewards: Float[Array, "B S"]  # clean, 0 or 1
  rates: NoiseRates  # of [B, S]
  believed: NoiseRates  # of [B, S]
  answered: Float[Array, "B S"]


class Batch(NamedTuple):
  """What an estimator may see of one outcome."""

  rollouts: Rollouts
  reward: Reward  # observed; NaN where unknown
  believed: NoiseRates  # of [B, G]
  reference_log_probs: Float[Array, "B G T"]


# Maps the trainer's log-probs `[B, G, T]` and a batch to a loss.
Estimator = Callable[[Float[Array, "B G T"], Batch], Mean]


def logits_at(space: Space, world: World, params) -> Float[Array, "B S T V"]:
  logits = jnp.asarray(params)[None] + world.offsets
  return logits[:, space.contexts]


@functools.partial(jax.jit, static_argnames="law")
def token_log_probs(
    space: Space, world: World, params, law=PLAIN
) -> Float[Array, "B S T"]:
  """log p of every token of every sequence, padding included."""
  scores = laws.law_logits(law, logits_at(space, world, params))
  tokens = jnp.asarray(space.tokens)[None, ..., None]
  return jnp.take_along_axis(scores, tokens, -1)[..., 0]


@functools.partial(jax.jit, static_argnames="law")
def sequence_probabilities(
    space: Space, world: World, params, law=PLAIN
) -> Float[Array, "B S"]:
  log_probs = token_log_probs(space, world, params, law)
  return jnp.exp(jnp.sum(jnp.where(space.mask, log_probs, 0.0), -1))


class Outcomes(NamedTuple):
  """What can happen to one sample: a sequence and a verdict; O of them."""

  sequence: Int[Array, " O"]
  observed: Float[Array, " O"]  # 0, 1, or NaN where unknown
  probability: Float[Array, "B O"]


def list_outcomes(space: Space, world: World, law) -> Outcomes:
  """Leaves out what has probability 0 for every prompt."""
  drawn = np.asarray(sequence_probabilities(space, world, world.behavior, law))
  one = np.where(
      world.rewards > 0,
      1 - world.rates.false_negative,
      world.rates.false_positive,
  )
  known = np.asarray(world.answered)
  joint = np.stack(
      [known * (1 - one), known * one, 1 - known], axis=-1
  ) * drawn[..., None]  # [B, S, 3]
  verdicts = np.broadcast_to([0.0, 1.0, np.nan], joint.shape[1:])
  possible = np.any(joint > 0, axis=0)
  sequence, _ = np.nonzero(possible)
  return Outcomes(
      jnp.asarray(sequence),
      jnp.asarray(verdicts[possible]),
      jnp.asarray(joint[:, possible]),
  )


@functools.partial(
    jax.jit, static_argnames=("estimators", "group_size", "length", "total")
)
def _moments(estimators, tables, outcomes, *, group_size, length, total):
  """E[gradient] and E[|gradient|^2] of each estimator's ascent direction."""
  num_prompts, num_outcomes = outcomes.probability.shape
  prompts = jnp.arange(num_prompts)[:, None]

  def one(index):
    digits = bandits.nth_outcome(
        index, num_outcomes=num_outcomes, num_draws=num_prompts * group_size
    ).reshape(num_prompts, group_size)
    chosen = outcomes.sequence[digits]
    at = lambda table: table[prompts, chosen]
    batch = _batch(tables, prompts, chosen, outcomes.observed[digits])
    log_probs, scores = at(tables["log_probs"]), at(tables["scores"])

    def gradient(estimator):
      slopes = jax.grad(lambda x: estimator(x, batch).value)(log_probs)
      return -jnp.einsum("bgt,bgtp->p", slopes, scores)

    weight = jnp.prod(outcomes.probability[prompts, digits])
    # A last chunk may run past the end.
    weight = jnp.where(index < total, weight, 0.0)
    return weight, jnp.stack([gradient(f) for f in estimators])

  def add(sums, start):
    weights, gradients = jax.vmap(one)(start + jnp.arange(length))
    first = jnp.einsum("n,nep->ep", weights, gradients)
    second = jnp.einsum("n,nep->e", weights, jnp.square(gradients))
    return (sums[0] + first, sums[1] + second), None

  count = len(estimators)
  start = jnp.zeros((count, tables["scores"].shape[-1])), jnp.zeros(count)
  return jax.lax.scan(add, start, jnp.arange(0, total, length))[0]


def _batch(tables, prompts, chosen, observed) -> Batch:
  at = lambda table: table[prompts, chosen]
  rollouts = Rollouts(
      prompts=prompts,
      prompt_mask=jnp.ones_like(prompts, bool),
      tokens=tables["tokens"][chosen],
      mask=tables["mask"][chosen],
      log_probs=at(tables["behavior"]),
      truncated=tables["truncated"][chosen],
  )
  return Batch(
      rollouts,
      Reward(observed, ~jnp.isnan(observed)),
      jax.tree.map(at, tables["believed"]),
      at(tables["reference"]),
  )


@functools.partial(jax.jit, static_argnums=(2, 3))
def _tables(space: Space, world: World, law, scoring_law):
  """Everything an outcome looks up, by prompt and sequence."""
  score = lambda params: token_log_probs(space, world, params, scoring_law)
  jacobian = jax.jacobian(score)(world.params)  # [B, S, T, C, V]
  full = jnp.all(space.mask, -1)
  return dict(
      log_probs=score(world.params),
      scores=jacobian.reshape(*jacobian.shape[:3], -1),
      behavior=token_log_probs(space, world, world.behavior, law),
      reference=score(world.reference),
      believed=world.believed,
      mask=jnp.asarray(space.mask),
      tokens=jnp.asarray(space.tokens),
      truncated=jnp.asarray(full & (space.tokens[:, -1] != 0)),
  )


class Moments(NamedTuple):
  """Exact mean and total variance of an estimated gradient."""

  mean: np.ndarray  # [P]
  variance: float  # trace of the covariance


def expected_gradients(
    space: Space,
    world: World,
    estimators: tuple[Estimator, ...],
    *,
    group_size: int,
    law: laws.SamplingLaw = PLAIN,
    scoring_law: laws.SamplingLaw | None = None,
) -> list[Moments]:
  """Sums over every batch that can be drawn; ascent directions.

  Args:
    space: the sequences.
    world: the numbers.
    estimators: losses whose negative gradients are taken, all in one program.
    group_size: G.
    law: what the sampler draws from.
    scoring_law: under which the trainer scores; None takes `law`.
  """
  with jax.enable_x64(True):
    world = jax.tree.map(lambda x: np.asarray(x, float), world)
    scoring_law = law if scoring_law is None else scoring_law
    outcomes = list_outcomes(space, world, law)
    num_prompts, num_outcomes = outcomes.probability.shape
    total = num_outcomes ** (num_prompts * group_size)
    moments = _moments(
        estimators,
        _tables(space, world, law, scoring_law),
        outcomes,
        group_size=group_size,
        length=-(-total // -(-total // _CHUNK)),  # chunks of one size
        total=total,
    )
  means, seconds = (np.asarray(x) for x in moments)
  return [Moments(m, float(x - m @ m)) for m, x in zip(means, seconds)]


def expected_gradient(
    space: Space, world: World, estimator: Estimator, **options
) -> Moments:
  """`expected_gradients` of one estimator."""
  return expected_gradients(space, world, (estimator,), **options)[0]


if __name__ == "__main__":
  from tests import estimator_table

  estimator_table.main()
