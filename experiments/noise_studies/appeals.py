"""A false-negative rate that drifts, followed by re-checked rejections (E5)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import bandits as arms
from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.environments import bandits
from rewardjax.noise import appeals, corrections
from rewardjax.types import NoiseRates


def drifting_rates(
    *,
    seed,
    num_seeds,
    num_prompts,
    num_arms,
    false_positive,
    false_negative,
    appeal_fraction,
    decay,
    num_steps,
    burn_in,
    group_size,
    learning_rate,
    tolerance,
) -> Study:
  """E5: the false-negative rate drifts; re-checked rejections follow it.

  `false_negative` holds its first and last value. Methods are forward weights
  told the true rate, the rate estimated from appeals, or the first rate.
  """
  first, last = false_negative
  drift = jnp.linspace(first, last, num_steps)
  shape = (num_prompts, num_arms)
  told = ("true", "appeals", "stale")

  def run(key, source):
    world_key, loop_key = jax.random.split(key)
    world = bandits.one_right_arm(
        world_key,
        NoiseRates(false_positive, first),
        num_prompts=num_prompts,
        num_arms=num_arms,
    )

    def step(carry, inputs):
      logits, state = carry
      step_key, now = inputs
      draw_key, appeal_key = jax.random.split(step_key)
      rates = NoiseRates(jnp.full(shape, false_positive), jnp.full(shape, now))
      world_now = world._replace(rates=rates)
      sample = arms.draw(draw_key, world_now, logits, group_size=group_size)
      estimate = appeals.false_negative_rate(state)
      state = _appeal(
          appeal_key, state, sample, false_positive, appeal_fraction, decay
      )
      believed = {"true": now, "appeals": estimate, "stale": first}[source]
      weights = corrections.forward_weight(
          sample.observed, NoiseRates(false_positive, believed)
      )
      logits = arms.ascend(
          logits, sample, weights, learning_rate=learning_rate
      )
      return (logits, state), (arms.mean_reward(world, logits), estimate)

    start = (world.logits, appeals.init_appeals())
    inputs = (jax.random.split(loop_key, num_steps), drift)
    return jax.lax.scan(step, start, inputs)[1]

  results = jax.device_get(
      jax.jit(
          lambda keys: {
              name: jax.vmap(functools.partial(run, source=name))(keys)
              for name in told
          }
      )(seed_keys(seed, num_seeds))
  )
  estimates = results["appeals"][1]
  error = np.abs(estimates - np.asarray(drift))[:, burn_in:]
  accuracy = {name: x[0] for name, x in results.items()}
  gap = accuracy["appeals"][:, -1] - accuracy["true"][:, -1]
  rows = [mean_row(f"told {n}", "accuracy", accuracy[n][:, -1]) for n in told]
  rows += [
      mean_row("appeals", "largest error of the rate", np.max(error, -1)),
      mean_row("appeals", "mean error of the rate", np.mean(error, -1)),
      mean_row("appeals - true", "accuracy", gap),
  ]
  steps = np.arange(1, num_steps + 1)
  truth = np.asarray(drift)[None]
  return Study(
      "E5: a drifting false-negative rate, followed by appeals",
      f"After {burn_in} steps the mean over seeds of the estimated rate stays "
      f"within {tolerance:g} of the truth, and the accuracy of forward weights "
      f"told the estimate is within {tolerance:g} of those told the truth",
      bool(
          np.max(np.abs(np.mean(estimates, 0) - truth[0])[burn_in:]) < tolerance
          and abs(np.mean(gap)) < tolerance
      ),
      rows,
      {
          "rate": Curves(
              steps,
              {"estimate": estimates, "truth": truth},
              "step",
              "false-negative rate",
          ),
          "accuracy": Curves(steps, accuracy, "step", "accuracy"),
      },
      "Told another rate, forward weights differ by a constant: what they "
      "expect stays, only their variance changes, and even the stale rate "
      "learns. What appeals add here is the rate itself. " + NOTE,
  )


def _appeal(key, state, sample, false_positive, fraction, decay):
  """One step of appeals to a judge who is always right."""
  valid = jnp.ones(sample.observed.shape, bool)
  appealed = appeals.choose_appeals(key, sample.observed, fraction, valid)
  accepted = sample.correct > 0
  counts = appeals.appeal_counts(sample.observed, appealed, accepted, valid)
  return appeals.update_appeals(
      state,
      counts,
      false_positive=false_positive,
      judge_rates=NoiseRates(0.0, 0.0),
      decay=decay,
  )
