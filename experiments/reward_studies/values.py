"""Heavy-tailed targets that are often zero, and a choice of distributions.

The criterion was fixed before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from experiments.reward_studies import models
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import agreement
from rewardjax.models.heads import VectorHead
from rewardjax.recipes import latent_rewards
from rewardjax.reward_models import fitting, zero_inflated


def spenders(key, num_rows, *, dim=6):
  """Three regimes of customers, blurred in their features.

  Returns:
    Features `[N, dim]` and what is spent `[N]`: positive with probability
    .1, .4 or .7, then log-normal with means 0, 2, 5 + .3 x_2.
  """
  keys = split_named(key, "regime", "x", "positive", "size")
  regime = jax.random.randint(keys["regime"], (num_rows,), 0, 3)
  angle = 2 * jnp.pi * regime / 3
  x = jax.random.normal(keys["x"], (num_rows, dim))
  x = x.at[:, 0].add(2 * jnp.cos(angle)).at[:, 1].add(2 * jnp.sin(angle))
  of = lambda *values: jnp.asarray(values)[regime]
  positive = jax.random.bernoulli(keys["positive"], of(0.1, 0.4, 0.7))
  mean = of(0.0, 2.0, 5.0) + 0.3 * x[:, 2]
  size = mean + of(0.5, 0.4, 0.7) * jax.random.normal(
      keys["size"], (num_rows,)
  )
  return x, jnp.where(positive, jnp.exp(size), 0.0)


def _read(outputs, num_experts):
  """The distribution of the expert that the gate picks, and the gate."""
  experts = outputs[:, : 3 * num_experts].reshape(-1, num_experts, 3)
  gate = outputs[:, 3 * num_experts :]
  if num_experts == 1:
    return zero_inflated.read(experts[:, 0]), jnp.zeros(len(outputs), int)
  picked = jnp.argmax(gate, axis=-1)
  chosen = jnp.take_along_axis(experts, picked[:, None, None], axis=1)[:, 0]
  return zero_inflated.read(chosen), picked


def optdist(
    *, seed, num_seeds, num_rows, num_test, width, wide, num_experts,
    learning_rate, soft_weight, **training,
) -> Study:
  """One zero-inflated log-normal, a wider one, and a choice among several."""
  arms = {
      "one": (width, 1),
      "one, wide": (wide, 1),
      "OptDist": (width, num_experts),
  }
  net = lambda width, n: VectorHead(
      3 * n + (n if n > 1 else 0), (width,), activation=nn.relu
  )

  def loss_of(width, n):
    def loss(params, batch, key):
      x, y = batch
      out = net(width, n).apply(params, x)
      if n == 1:
        read = zero_inflated.read(out)
        return Mean.of(zero_inflated.negative_log_likelihood(read, y))
      experts = out[:, : 3 * n].reshape(-1, n, 3)
      return latent_rewards.optdist(
          key, experts, out[:, 3 * n :], y, soft_weight=soft_weight
      )[0]

    return loss

  def start_of(key, width, n):
    """Experts that start apart, from small to large values."""
    params = net(width, n).init(key, jnp.zeros((1, 6)))
    if n > 1:
      bias = params["params"]["Dense_1"]["bias"]
      places = jnp.arange(n) * 3 + 1
      params["params"]["Dense_1"]["bias"] = bias.at[places].set(
          jnp.linspace(0.0, 5.0, n)
      )
    return params

  def train(key):
    keys = split_named(key, "rows", "init", "fit")
    rows = spenders(keys["rows"], num_rows)
    fit = lambda width, n: fitting.fit(
        keys["fit"], start_of(keys["init"], width, n), loss_of(width, n), rows,
        optimizer=optax.adam(learning_rate), **training,
    ).params
    return {name: fit(*arm) for name, arm in arms.items()}

  def read(key, params):
    x, y = spenders(jax.random.fold_in(key, 1), num_test)

    def one(params, width, n):
      law, picked = _read(net(width, n).apply(params, x), n)
      guess = zero_inflated.mean(law)
      used = jnp.mean(jax.nn.one_hot(picked, n), axis=0)
      return {
          "NLL": jnp.mean(zero_inflated.negative_log_likelihood(law, y)),
          "norm. Gini": agreement.norm_gini(y, guess),
          "MAE": jnp.mean(jnp.abs(guess - y)),
          "largest share of an expert": jnp.max(used),
      }

    return {name: one(params[name], *arm) for name, arm in arms.items()}

  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  mean = lambda name, metric: np.mean(found[name][metric])
  passed = (
      mean("OptDist", "MAE") <= mean("one", "MAE")
      and mean("OptDist", "NLL") <= mean("one, wide", "NLL")
  )
  return Study(
      "OptDist: which distribution a heavy-tailed value has",
      "The absolute error is not above that of one distribution, the negative "
      "log-likelihood not above that of a wide one",
      bool(passed),
      [
          mean_row(name, metric, x)
          for name, metrics in found.items()
          for metric, x in metrics.items()
      ],
      {},
  )
