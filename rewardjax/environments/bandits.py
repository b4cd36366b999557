"""Small contextual bandits whose every expectation can be written down.

B prompts, K arms, G samples of one prompt. A policy is `softmax(logits)`;
`logits` of shape `[1, K]` are shared by all prompts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.core import checks, masking
from rewardjax.environments.episodes import World
from rewardjax.types import NoiseRates, Scalar


class Bandits(NamedTuple):
  """Prompts with K arms each, and the verifier that judges them.

  logits: the policy at the start, `[B, K]`, or `[1, K]` when shared.
  correct: the clean verdict on each arm, 0 or 1.
  payment: what a right arm earns, in reward units.
  rates: the verifier's.
  """

  logits: Float[Array, "#B K"]
  correct: Float[Array, "B K"]
  payment: Float[Array, " B #K"]
  rates: NoiseRates  # of [B, K]

  @property
  def rewards(self) -> Float[Array, "B K"]:
    """The clean reward of each arm."""
    return self.payment * self.correct


def _full(rates: NoiseRates, shape: tuple[int, ...]) -> NoiseRates:
  broadcast = lambda rate: jnp.broadcast_to(jnp.asarray(rate, float), shape)
  return jax.tree.map(broadcast, rates)


def one_right_arm(
    key: Key[Array, ""],
    rates: NoiseRates,
    *,
    num_prompts: int,
    num_arms: int,
) -> Bandits:
  """One arm of each prompt is right (reward 1), drawn uniformly.

  The policy starts uniform, so the exact accuracy starts at 1 / K.

  Args:
    key: consumed.
    rates: of the verifier, broadcastable to `[B, K]`.
    num_prompts: B (static).
    num_arms: K (static).

  Raises:
    ValueError: if a size is not positive.
  """
  checks.at_least(
      "one_right_arm", 1.0, num_prompts=num_prompts, num_arms=num_arms
  )
  shape = (num_prompts, num_arms)
  right = jax.random.randint(key, (num_prompts,), 0, num_arms)
  return Bandits(
      logits=jnp.zeros(shape),
      correct=jax.nn.one_hot(right, num_arms),
      payment=jnp.ones((num_prompts, 1)),
      rates=_full(rates, shape),
  )


def two_verifiers(
    rates: NoiseRates, *, num_prompts: int, num_arms: int = 2, worth: Scalar
) -> Bandits:
  """One shared policy, judged by an honest and by a noisy verifier.

  Even prompts pay `worth` for arm 0 and their verifier never errs; odd
  prompts pay 1 for arm 1 and their verifier errs at `rates`. With `worth`
  below 1 arm 1 is best, but uncorrected rewards make arm 0 look best as soon
  as `worth` exceeds the Youden index of `rates`.

  Args:
    rates: of the noisy verifier, two scalars.
    num_prompts: B, even (static).
    num_arms: K >= 2 (static); arms from 2 on pay nothing.
    worth: what arm 0 pays on even prompts, in reward units.

  Raises:
    ValueError: if `num_prompts` is odd or a size is too small.
  """
  where = "two_verifiers"
  checks.at_least(where, 2.0, num_prompts=num_prompts, num_arms=num_arms)
  if num_prompts % 2:
    raise ValueError(f"{where}: num_prompts must be even, got {num_prompts}.")
  odd = jnp.arange(num_prompts) % 2
  noisy = odd[:, None] == 1
  shape = (num_prompts, num_arms)
  rates = jax.tree.map(lambda rate: jnp.where(noisy, rate, 0.0), rates)
  return Bandits(
      logits=jnp.zeros((1, num_arms)),
      correct=jax.nn.one_hot(odd, num_arms),
      payment=jnp.where(noisy, 1.0, worth),
      rates=_full(rates, shape),
  )


def hackable(rates: NoiseRates, *, num_arms: int, exploit: Scalar) -> Bandits:
  """One prompt: arm 0 is right, and the verifier falls for arm 1.

  Args:
    rates: of the verifier, two scalars; arm 1 has its own false positives.
    num_arms: K >= 2 (static).
    exploit: false-positive rate on arm 1.

  Raises:
    ValueError: if `num_arms` is less than 2.
  """
  checks.at_least("hackable", 2.0, num_arms=num_arms)
  shape = (1, num_arms)
  rates = _full(rates, shape)
  tempting = jnp.arange(num_arms)[None] == 1
  accepted = jnp.where(tempting, exploit, rates.false_positive)
  return Bandits(
      logits=jnp.zeros(shape),
      correct=jax.nn.one_hot(jnp.zeros(1, int), num_arms),
      payment=jnp.ones((1, 1)),
      rates=rates._replace(false_positive=accepted),
  )


def expected_reward(
    logits: Float[Array, "*#batch K"], rewards: Float[Array, "*#batch K"]
) -> Float[Array, "*batch"]:
  """Exact E[r] under softmax(logits), per prompt; float32 or wider."""
  probabilities = jax.nn.softmax(masking.as_accumulator(logits), axis=-1)
  return jnp.sum(probabilities * rewards, axis=-1)


def value_gradient(
    logits: Float[Array, "*#batch K"], rewards: Float[Array, "*#batch K"]
) -> Float[Array, "*batch K"]:
  """Exact gradient of `expected_reward`: p_a (r_a - E[r]), per prompt."""
  probabilities = jax.nn.softmax(masking.as_accumulator(logits), axis=-1)
  mean = jnp.sum(probabilities * rewards, axis=-1, keepdims=True)
  return probabilities * (rewards - mean)


def draw_arms(
    uniforms: Float[Array, "*#batch G"], logits: Float[Array, "*#batch K"]
) -> Int[Array, "*batch G"]:
  """The arms at quantiles `uniforms` in [0, 1) of softmax(logits)."""
  probabilities = jax.nn.softmax(masking.as_accumulator(logits), axis=-1)
  # The last edge is left out: rounding may put it below 1.
  edges = jnp.cumsum(probabilities, axis=-1)[..., None, :-1]
  return jnp.sum(uniforms[..., None] >= edges, axis=-1)


def at_arms(
    table: Float[Array, "*batch K"], arms: Int[Array, "*batch G"]
) -> Float[Array, "*batch G"]:
  """Looks up a per-arm table at the drawn arms."""
  return jnp.take_along_axis(table, arms, axis=-1)


def nth_outcome(
    index: Int[Array, "*batch"], *, num_outcomes: int, num_draws: int
) -> Int[Array, "*batch D"]:
  """The digits of `index` in base `num_outcomes`: one outcome of D draws.

  Indices 0 .. num_outcomes ** num_draws - 1 list every joint outcome once.
  """

  def digits(index):
    return (index // num_outcomes ** jnp.arange(num_draws)) % num_outcomes

  return jnp.vectorize(digits, signature="()->(d)")(index)


class Visit(NamedTuple):
  """One prompt of a bandit in play."""

  prompt: Int[Array, ""]
  arm: Int[Array, ""]  # the one pulled, -1 before


def world(bandits: Bandits) -> World:
  """One turn for `episodes.play`: the prompt is seen, then an arm is pulled.

  Gained is the clean reward, noise being a channel's business; won if the arm
  is right.
  """
  num_prompts, num_arms = bandits.correct.shape
  at = lambda table, visit: table[visit.prompt, jnp.maximum(visit.arm, 0)]

  def reset(key):
    prompt = jax.random.randint(key, (), 0, num_prompts)
    return Visit(prompt, jnp.full((), -1, jnp.int32))

  def step(key, visit, action):
    arm = jnp.clip(action, 0, num_arms - 1).astype(jnp.int32)
    visit = visit._replace(arm=arm)
    return visit, at(bandits.rewards, visit)

  return World(
      num_arms,
      num_arms + num_prompts,
      reset,
      observe=lambda visit: num_arms + visit.prompt[None],
      step=step,
      is_done=lambda visit: visit.arm >= 0,
      is_won=lambda visit: (visit.arm >= 0) & (at(bandits.correct, visit) > 0),
  )
