"""Where learning under a KL penalty ends, with and without corrections (E4)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import bandits as arms
from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.core import tilting
from rewardjax.environments import bandits
from rewardjax.noise import corrections
from rewardjax.objectives import regularizers
from rewardjax.types import NoiseRates


def kl_fixed_point(
    *,
    seed,
    num_seeds,
    reference,
    correct,
    false_positive,
    false_negative,
    coefficient,
    num_steps,
    learning_rate,
    methods,
    tolerance,
) -> Study:
  """E4: where KL-regularised ascent ends, by following the exact gradient.

  A method has a correction and `coefficient_scale`, "one" or "youden": what
  the KL coefficient is multiplied by. Seeds are starting policies.
  """
  rates = NoiseRates(false_positive, false_negative)
  youden = float(corrections.youden(rates))
  reference = jnp.log(jnp.asarray(reference))[None]
  shape = reference.shape
  world = bandits.Bandits(
      reference,
      jnp.asarray(correct, float)[None],
      jnp.ones((1, 1)),
      jax.tree.map(lambda rate: jnp.full(shape, rate), rates),
  )
  scales = {"one": 1.0, "youden": youden}

  def solve(start, m):
    beta = coefficient * scales[m["coefficient_scale"]]

    def step(logits, _):
      def method(sample, believed):
        # Held by the surrogate: the score function carries the gradient.
        ours = bandits.at_arms(jax.nn.log_softmax(logits), sample.arms)
        theirs = bandits.at_arms(reference, sample.arms)
        corrected = arms.CORRECTIONS[m["correction"]](sample.observed, believed)
        return corrected + regularizers.kl_reward_penalty(
            ours, theirs, coefficient=beta
        )

      slope = arms.expected_gradients(
          world, logits, [method], group_size=1
      )[0]
      logits = logits + learning_rate * slope
      return logits, jax.nn.softmax(logits)

    return jax.lax.scan(step, start, length=num_steps)[1][:, 0]

  starts = jax.vmap(lambda key: jax.random.normal(key, shape))(
      seed_keys(seed, num_seeds)
  )
  paths = jax.device_get(
      jax.jit(
          lambda starts: {
              name: jax.vmap(functools.partial(solve, m=m))(starts)
              for name, m in methods.items()
          }
      )(starts)
  )
  clean = world.correct[0]
  # Raw and forward rewards have slope J in the clean one, backward slope 1.
  rows, lines, errors = [], {}, {}
  for name, m in methods.items():
    slope = 1.0 if m["correction"] == "backward" else youden
    beta = coefficient * scales[m["coefficient_scale"]]
    law = jnp.exp(
        tilting.exponential_tilt(reference[0], slope * clean, temperature=beta)
    )
    right = paths[name] @ np.asarray(clean)
    lines[name] = right
    errors[name] = np.max(np.abs(paths[name][:, -1] - np.asarray(law)), -1)
    rows.append(mean_row(name, "P(right)", right[:, -1]))
    rows.append(mean_row(name, "largest error", errors[name]))
  optimum = jnp.exp(
      tilting.exponential_tilt(reference[0], clean, temperature=coefficient)
  )
  return Study(
      "E4: fixed points under a KL penalty",
      f"Every probability within {tolerance:g} of the predicted tilt of the "
      "reference, for each variant and start",
      bool(max(np.max(x) for x in errors.values()) < tolerance),
      rows,
      {
          "path": Curves(
              np.arange(1, num_steps + 1),
              lines,
              "step",
              "P(right)",
              float(optimum @ clean),
          )
      },
      "Exact gradients; runs differ in the starting policy. " + NOTE,
  )
