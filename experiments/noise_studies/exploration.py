"""What the papers on exploration claim, on policies that are tables.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import exploration_bandits as tables
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import distribution
from rewardjax.core import probability
from rewardjax.diagnostics import pass_at_k
from rewardjax.environments import bandits
from rewardjax.policies import laws
from rewardjax.recipes import exploration, policy_gradient


def _grpo(log_probs, batch):
  return policy_gradient.grpo(log_probs, batch.rollouts, batch.reward)[0]


def _unlikeliness(coefficient):
  return lambda log_probs, batch: exploration.unlikeliness(
      log_probs, batch.rollouts, batch.reward, coefficient=coefficient
  )[0]


def _dcpo(target, cap):
  def loss(log_probs, batch):
    rollouts = batch.rollouts
    temperature = distribution.exploration_temperature(
        -jnp.mean(rollouts.log_probs), target=target
    )
    tempered = laws.law_logits(laws.SamplingLaw(temperature), batch.logits)
    tempered = bandits.at_arms(tempered, rollouts.tokens[..., 0])
    return exploration.dcpo(
        log_probs, rollouts, batch.reward,
        tempered_log_probs=tempered[..., None], target=target, cap=cap,
    )[0]

  return loss


def _measures(logits, right, k):
  """Accuracy, coverage by k samples, entropy: exact, means over prompts."""
  p = jax.nn.softmax(logits)
  return dict(
      accuracy=jnp.mean(jnp.sum(jnp.where(right, p, 0.0), axis=-1)),
      coverage=jnp.mean(pass_at_k.coverage(p, right, k=k)),
      entropy=jnp.mean(probability.entropy(logits)),
  )


def _run_all(methods, *, seed, num_seeds, right, spread, k, **options):
  """Measures `[seeds, steps]` of every method, from the same starts."""

  def run(key, loss, **more):
    start_key, learn_key = jax.random.split(key)
    start = spread * jax.random.normal(start_key, right.shape)
    _, path = tables.learn(
        learn_key, start, right.astype(start.dtype), loss, **options | more
    )
    return jax.vmap(lambda z: _measures(z, right, k))(path)

  out = {}
  for name, (loss, more) in methods.items():
    one = jax.jit(jax.vmap(functools.partial(run, loss=loss, **more)))
    out[name] = jax.device_get(one(seed_keys(seed, num_seeds)))
  return out


def _rows(found, *metrics):
  return [
      mean_row(name, metric, values[metric][:, -1])
      for name, values in found.items()
      for metric in metrics
  ]


def _last(found, metric):
  return {name: np.mean(x[metric][:, -1]) for name, x in found.items()}


def _curve(found, metric, num_steps):
  lines = {name: x[metric] for name, x in found.items()}
  return Curves(np.arange(1, num_steps + 1), lines, "step", metric)


def unlikeliness_reward(
    *, num_prompts, num_arms, num_right, coefficient, epochs, samples,
    num_steps, each, both, **options,
) -> Study:
  """Rare right arms survive if they pay more, and if batches are used twice.

  `each` and `both` are the gains in coverage that the criterion asks for.
  """
  more = dict(epochs=epochs)
  methods = {
      "grpo": (_grpo, {}),
      "unlikeliness": (_unlikeliness(coefficient), {}),
      "grpo, epochs": (_grpo, more),
      "unlikeliness, epochs": (_unlikeliness(coefficient), more),
  }
  found = _run_all(
      methods, right=tables.right_arms(num_prompts, num_arms, num_right),
      k=samples, num_steps=num_steps, **options,
  )
  coverage = _last(found, "coverage")
  gain = {name: x - coverage["grpo"] for name, x in coverage.items()}
  passed = (
      min(gain["unlikeliness"], gain["grpo, epochs"]) > each
      and gain["unlikeliness, epochs"] > both
  )
  return Study(
      "Unlikeliness reward: right answers that survive",
      f"Coverage of the right arms by {samples} samples: unlikeliness and "
      f"{epochs} epochs each gain more than {each:g} over GRPO, both together "
      f"more than {both:g}",
      bool(passed),
      _rows(found, "coverage", "accuracy"),
      {"coverage": _curve(found, "coverage", num_steps)},
  )


def dcpo_entropy(
    *, num_prompts, num_arms, num_right, targets, cap, samples, num_steps,
    loss, **options,
) -> Study:
  """The final entropy follows its target, and accuracy does not pay for it.

  `loss` is the accuracy that may be lost at most.
  """
  methods = {"grpo": (_grpo, {})}
  for target in targets:
    methods[f"target {target:g}"] = (_dcpo(target, cap), {})
  found = _run_all(
      methods, right=tables.right_arms(num_prompts, num_arms, num_right),
      k=samples, num_steps=num_steps, **options,
  )
  entropy, accuracy = _last(found, "entropy"), _last(found, "accuracy")
  ordered = np.all(np.diff(list(entropy.values())) > 0)
  lost = accuracy["grpo"] - min(accuracy.values())
  return Study(
      "DCPO: entropy by target",
      "Final entropies ascend with their targets, from GRPO on, and no run "
      f"loses {loss:g} of its accuracy",
      bool(ordered and lost < loss),
      _rows(found, "entropy", "accuracy", "coverage"),
      {"entropy": _curve(found, "entropy", num_steps)},
  )


def brorl_balance(
    *, seed, num_seeds, num_items, num_right, right_mass, spread, num_samples,
    num_trials, below,
) -> Study:
  """How often one step on N samples lowers the mass of right items.

  `below` is the largest share of such steps allowed at 64 samples.
  """
  right = jnp.arange(num_items) < num_right

  def start(key):
    logits = spread * jax.random.normal(key, (num_items,))
    mass = jnp.sum(jnp.where(right, jax.nn.softmax(logits), 0.0))
    odds = lambda q: jnp.log(q) - jnp.log1p(-q)
    return logits + jnp.where(right, odds(right_mass) - odds(mass), 0.0)

  def backwards(key, logits, count):
    """Whether a REINFORCE step with rewards of +-1 goes the wrong way."""
    p = jax.nn.softmax(logits)
    arms = bandits.draw_arms(jax.random.uniform(key, (count,)), logits)
    paid = jnp.where(right[arms], 1.0, -1.0)
    pull = jnp.zeros_like(p).at[arms].add(paid / count)
    step = pull - p * jnp.sum(pull)
    slope = p * (right - jnp.sum(jnp.where(right, p, 0.0)))
    return (jnp.vdot(slope, step) < 0).astype(float)

  def share(key, count):
    start_key, key = jax.random.split(key)
    logits = start(start_key)
    one = lambda key: backwards(key, logits, count)
    return jnp.mean(jax.vmap(one)(jax.random.split(key, num_trials)))

  keys = seed_keys(seed, num_seeds)
  found = [
      np.asarray(jax.jit(jax.vmap(lambda key, n=n: share(key, n)))(keys))
      for n in num_samples
  ]
  means = [np.mean(x) for x in found]
  rest = [x for n, x in zip(num_samples, means) if n >= 64]
  passed = np.all(np.diff(means) <= 0) and max(rest) < below
  lines = {"one step": np.stack(found, axis=-1)}
  return Study(
      "BroRL: steps that lower the mass of right answers",
      "Their share never rises with the number of samples, and is below "
      f"{below:g} from 64 samples on",
      bool(passed),
      [
          mean_row(f"{n} samples", "share of backward steps", x)
          for n, x in zip(num_samples, found)
      ],
      {
          "backward_steps": Curves(
              np.array(num_samples), lines, "samples", "share"
          )
      },
  )
