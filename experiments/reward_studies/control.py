"""What Ctrl-U claims: a reward that is wrong on a part of the space.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies.beds import flow
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diffusion import objectives, one_step, schedules
from rewardjax.models.denoisers import TimeMLP
from rewardjax.recipes import control
from rewardjax.reward_models import fitting
from rewardjax.rewards import paired

_FLOW = schedules.rectified_flow()
# Weight of the reward, scale of the uncertainty u, weight of its mean, and
# whether u is held constant.
_ARMS = {
    "no reward": (0.0, 0.0, 0.0, 0.0),
    "plain reward": (1.0, 0.0, 0.0, 0.0),
    "weighed": (1.0, 1.0, 0.0, 0.0),
    "weighed, mean u": (1.0, 1.0, 1.0, 0.0),
    "weighed, u held": (1.0, 1.0, 0.0, 1.0),
}


def _truth(x):
  """What a picture shows: its height."""
  return x[..., 1]


def _reading(x, border, frequency):
  """The truth left of the border, and quickly changing nonsense beyond."""
  nonsense = 2 * jnp.sin(frequency * (x[..., 0] + 0.5 * x[..., 1]))
  return jnp.where(x[..., 0] > border, nonsense, _truth(x))


def _draws(key, count, max_time):
  keys = split_named(key, "t", "eps")
  t = max_time * jax.random.uniform(keys["t"], (count,))
  return t, jax.random.normal(keys["eps"], (count, 2))


def ctrl_u(
    *, seed, num_seeds, borders, frequency, widths, data_size, num_test,
    max_time, step, weight, wins, num_steps, batch_size, learning_rate,
) -> Study:
  """A generator that must keep to a height, which a reward model reads.

  `borders` are where the reading turns to nonsense, in half of the space
  first; `weight` is that of the reward beside the denoising loss; `wins` the
  share of seeds that the criterion asks for.
  """
  net = TimeMLP(tuple(widths))

  def model(params, x0):
    wanted = _truth(x0)[:, None]
    return lambda x, t: net.apply(params, x, t, wanted)

  def loss_of(arm, border):
    paid, scale, coefficient, held = arm

    def loss(params, x0, key):
      keys = split_named(key, "all", "early")
      t, eps = _draws(keys["all"], len(x0), 1.0)
      noisy = schedules.add_noise(_FLOW, x0, eps, t)
      denoise = objectives.denoise_error(model(params, x0)(noisy, t), x0)
      t, eps = _draws(keys["early"], len(x0), max_time)
      pair = one_step.paired_generations(
          model(params, x0), x0, eps, t,
          step=step, schedule=_FLOW, kind="x0",
      )
      first, second = (_reading(x, border, frequency) for x in pair)
      doubt = paired.value_uncertainty(first, second, scale=scale)
      doubt = jnp.where(held > 0, jax.lax.stop_gradient(doubt), doubt)
      reward = control.ctrl_u(
          jnp.square(first - _truth(x0)), doubt, t,
          max_time=max_time, coefficient=coefficient,
      )
      return Mean.of(denoise + weight * paid * reward.value)

    return loss

  def run(key):
    keys = split_named(key, "data", "init", "fit", "test", "noise")
    data = flow.ring(keys["data"], data_size)
    test = flow.ring(keys["test"], num_test)
    t, eps = _draws(keys["noise"], num_test, max_time)
    first = net.init(keys["init"], test, t, _truth(test)[:, None])

    def error(border, arm):
      params = fitting.fit(
          keys["fit"], first, loss_of(arm, border), data,
          optimizer=optax.adam(learning_rate),
          num_steps=num_steps, batch_size=batch_size,
      ).params
      made = one_step.one_step_x0(
          model(params, test), test, eps, t, schedule=_FLOW, kind="x0"
      )
      return jnp.mean(jnp.abs(_truth(made) - _truth(test)))

    arms = jnp.array(list(_ARMS.values()))
    over_arms = jax.vmap(error, (None, 0))
    return jax.vmap(over_arms, (0, None))(jnp.array(borders), arms)

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  names = list(_ARMS)
  at = {name: found[:, 0, i] for i, name in enumerate(names)}
  won = np.mean(at["weighed"] < at["plain reward"])
  half, most = (np.mean(found[:, i], 0) for i in range(2))
  order = lambda x: ", ".join(names[i] for i in np.argsort(x))
  return Study(
      "Ctrl-U: a reward that is wrong on a part of the space",
      "Where the reading is nonsense on half of the space, weighing by "
      "uncertainty has a lower true control error than the plain reward in "
      f"at least {wins:g} of the seeds",
      bool(won >= wins),
      [
          mean_row(f"{name}, nonsense beyond {border:g}", "control error",
                   found[:, j, i])
          for j, border in enumerate(borders)
          for i, name in enumerate(names)
      ],
      {},
      f"{NOTE} From the lowest error up, nonsense on half of the space: "
      f"{order(half)}; on the lesser part: {order(most)}.",
  )
