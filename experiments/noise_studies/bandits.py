"""Policy gradient on toy bandits: many runs at once, and exact expectations.

A *method* turns what a verifier said into advantages: a correction, then a
normalisation. Everything here is a pure function that can be vmapped.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from experiments.choices import choose
from rewardjax.advantages import group
from rewardjax.core import probability
from rewardjax.core.masking import Mean
from rewardjax.environments import bandits
from rewardjax.noise import channels, corrections
from rewardjax.objectives import policy_gradient
from rewardjax.types import NoiseRates, Scalar


def _scaled_forward(observed, rates):
  """Forward weights at the scale of the clean reward."""
  return corrections.forward_weight(observed, rates) / corrections.youden(rates)


CORRECTIONS = {
    "none": lambda observed, rates: observed,
    "backward": corrections.backward_reward,
    "forward": corrections.forward_weight,
    "scaled_forward": _scaled_forward,
}
NORMALIZATIONS = {
    "none": group.constant_baseline,
    "centered": group.centered,
    "leave_one_out": group.leave_one_out,
    "standardized": group.standardized,
    "batch_scaled": group.batch_scaled,
    "bernoulli_standardized": group.bernoulli_standardized,
}


class Sample(NamedTuple):
  """G draws for each of B prompts, and what the verifier said of them."""

  arms: Int[Array, "B G"]
  correct: Float[Array, "B G"]  # the truth, for metrics only
  observed: Float[Array, "B G"]  # verdicts, 0 or 1
  payment: Float[Array, "B G"]


# Maps a sample and the rates believed at its draws to advantages `[B, G]`.
Method = Callable[[Sample, NoiseRates], Float[Array, "B G"]]


def make_method(correction: str, normalization: str) -> Method:
  """Composes a correction of verdicts with a normalisation of rewards.

  Raises:
    ValueError: naming the field, if it is none of the choices.
  """
  correct = choose("correction", CORRECTIONS, correction)
  normalize = choose("normalization", NORMALIZATIONS, normalization)

  def method(sample, believed):
    return normalize(sample.payment * correct(sample.observed, believed))

  return method


def rates_at(rates: NoiseRates, arms: Int[Array, "B G"]) -> NoiseRates:
  """Per-arm rates `[B, K]` at the drawn arms."""
  return jax.tree.map(lambda table: bandits.at_arms(table, arms), rates)


def draw(
    key: Key[Array, ""],
    world: bandits.Bandits,
    logits: Float[Array, "#B K"],
    *,
    group_size: int,
) -> Sample:
  """Draws arms from the policy and noisy verdicts on them."""
  arm_key, flip_key = jax.random.split(key)
  shape = (world.correct.shape[0], group_size)
  arms = bandits.draw_arms(jax.random.uniform(arm_key, shape), logits)
  correct = bandits.at_arms(world.correct, arms)
  observed = channels.flip_binary(
      flip_key, correct, rates_at(world.rates, arms)
  )
  payment = jnp.broadcast_to(world.payment, world.correct.shape)
  return Sample(arms, correct, observed, bandits.at_arms(payment, arms))


def surrogate(
    logits: Float[Array, "#B K"],
    arms: Int[Array, "B G"],
    advantages: Float[Array, "B G"],
) -> Float[Array, ""]:
  """The score-function loss: a mean over the samples of each policy row.

  Rows are summed: prompts with their own logits each make a full step,
  prompts that share one row are averaged.
  """
  shape = (*arms.shape, logits.shape[-1])
  log_probs = probability.token_log_probs(
      jnp.broadcast_to(logits[:, None], shape), arms
  )
  losses = policy_gradient.score_surrogate(log_probs, advantages)
  return Mean.of(losses).value * logits.shape[0]


def ascend(
    logits: Float[Array, "#B K"],
    sample: Sample,
    advantages: Float[Array, "B G"],
    *,
    learning_rate: Scalar,
) -> Float[Array, "#B K"]:
  """One step of stochastic gradient ascent."""
  slope = jax.grad(surrogate)(logits, sample.arms, advantages)
  return logits - learning_rate * slope


def learn(
    key: Key[Array, ""],
    world: bandits.Bandits,
    methods: Sequence[Method],
    *,
    num_steps: int,
    group_size: int,
    learning_rate: Scalar,
) -> tuple[Float[Array, " M #B K"], Float[Array, "M S"]]:
  """Trains M policies from the world's start, one for each method.

  Args:
    key: consumed; all methods see the same uniform draws, so that their
      differences vary less than they do.
    world: the bandits; methods are told its rates.
    methods: what makes advantages (static).
    num_steps: S (static).
    group_size: G (static).
    learning_rate: of plain gradient ascent.

  Returns:
    The last logits, and after every step the exact expected clean reward,
    averaged over prompts.
  """

  def step(logits, step_key):
    sample = lambda row: draw(step_key, world, row, group_size=group_size)
    samples = jax.vmap(sample)(logits)
    advantages = _each(methods, world, samples)
    update = functools.partial(ascend, learning_rate=learning_rate)
    logits = jax.vmap(update)(logits, samples, advantages)
    return logits, jax.vmap(mean_reward, (None, 0))(world, logits)

  start = jnp.broadcast_to(world.logits, (len(methods), *world.logits.shape))
  logits, rewards = jax.lax.scan(step, start, jax.random.split(key, num_steps))
  return logits, rewards.T


def _each(methods, world, samples):
  """Advantages `[M, B, G]`: method m on its own sample."""

  def one(m, method):
    sample = jax.tree.map(lambda x: x[m], samples)
    return method(sample, rates_at(world.rates, sample.arms))

  return jnp.stack([one(m, method) for m, method in enumerate(methods)])


def mean_reward(
    world: bandits.Bandits, logits: Float[Array, "#B K"]
) -> Float[Array, ""]:
  """Exact expected clean reward, averaged over prompts."""
  return jnp.mean(bandits.expected_reward(logits, world.rewards))


def exact_gradient(
    world: bandits.Bandits, logits: Float[Array, "#B K"]
) -> Float[Array, "#B K"]:
  """What an unbiased method expects: the gradient at `surrogate`'s scale."""
  value = lambda logits: mean_reward(world, logits) * logits.shape[0]
  return jax.grad(value)(logits)


def expected_gradients(
    world: bandits.Bandits,
    logits: Float[Array, "#B K"],
    methods: Sequence[Method],
    *,
    group_size: int,
) -> Float[Array, " M #B K"]:
  """Exact expectation of each method's ascent, over all draws and verdicts.

  Lists all (2 K) ** (B G) outcomes: for small worlds only.
  """
  num_prompts, num_arms = world.correct.shape
  false_positive, false_negative = world.rates
  accepted = jnp.where(world.correct > 0, 1 - false_negative, false_positive)
  policy = jax.nn.softmax(logits, axis=-1)
  # Outcome k is arm k rejected, outcome K + k is arm k accepted.
  table = jnp.concatenate([policy * (1 - accepted), policy * accepted], -1)
  payment = jnp.broadcast_to(world.payment, world.correct.shape)
  num_draws = num_prompts * group_size

  def one(index):
    digits = bandits.nth_outcome(
        index, num_outcomes=2 * num_arms, num_draws=num_draws
    ).reshape(num_prompts, group_size)
    arms, observed = digits % num_arms, (digits // num_arms).astype(float)
    correct, paid = (bandits.at_arms(x, arms) for x in (world.correct, payment))
    sample = Sample(arms, correct, observed, paid)
    believed = rates_at(world.rates, arms)
    advantages = jnp.stack([method(sample, believed) for method in methods])
    slopes = jax.vmap(jax.grad(surrogate), (None, None, 0))(
        logits, arms, advantages
    )
    return -slopes * jnp.prod(bandits.at_arms(table, digits))

  indices = jnp.arange((2 * num_arms) ** num_draws)
  return jnp.sum(jax.vmap(one)(indices), axis=0)
