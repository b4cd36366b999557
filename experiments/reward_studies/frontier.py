"""What optimising a learned reward gains and loses, over KL to the start.

Best-of-n by its exact estimator, and a Gaussian policy trained by policy
gradient, on the same rewards. The criterion was fixed before the first run.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import ensembles as proxies
from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.core import divergences
from rewardjax.core.random import split_named
from rewardjax.diagnostics import overoptimization
from rewardjax.training import figures, intervals


class Policy(NamedTuple):
  """A Gaussian over items; zeros are the reference, N(0, I)."""

  mean: jax.Array
  log_std: jax.Array


def _log_prob(policy, x):
  log_std = policy.log_std[None]
  z = (x - policy.mean[None]) * jnp.exp(-log_std)
  return -jnp.sum(0.5 * jnp.square(z) + log_std, axis=-1)


def climb(key, reward, *, dim, num_steps, num_samples, learning_rate, penalty):
  """Policies along a training path, by leave-one-out policy gradient.

  Args:
    key: consumed.
    reward: from items `[N, D]` to `[N]`.
    dim: D.
    num_steps: S.
    num_samples: a step.
    learning_rate: of Adam.
    penalty: weight of the exact KL to the reference, in reward units.

  Returns:
    A `Policy` with a first axis of S steps.
  """
  optimizer = optax.adam(learning_rate)
  start = Policy(jnp.zeros(dim), jnp.zeros(dim))

  def step(state, key):
    policy, opt_state = state
    noise = jax.random.normal(key, (num_samples, dim))
    x = policy.mean[None] + jnp.exp(policy.log_std)[None] * noise
    advantages = group.leave_one_out(reward(x))

    def loss(policy):
      kl = divergences.gaussian_kl(policy.mean, 2 * policy.log_std)
      return penalty * kl - jnp.mean(advantages * _log_prob(policy, x))

    grads = jax.grad(loss)(policy)
    updates, opt_state = optimizer.update(grads, opt_state)
    policy = optax.apply_updates(policy, updates)
    return (policy, opt_state), policy

  keys = jax.random.split(key, num_steps)
  return jax.lax.scan(step, (start, optimizer.init(start)), keys)[1]


def read_path(key, path, true, proxy, *, num_read, every=1):
  """KL to the reference, true reward and proxy along a path.

  Args:
    key: of `num_read` draws that all policies share.
    path: of `climb`, with S policies.
    true: from items `[N, D]` to `[N]`; `proxy` as well.
    proxy: see `true`.
    num_read: items of each policy.
    every: policies from one that is read to the next, which divides S.

  Returns:
    Three arrays `[S / every]`, the last policy last.
  """
  path = jax.tree.map(lambda x: x[every - 1 :: every], path)
  noise = jax.random.normal(key, (num_read, path.mean.shape[-1]))
  spread = jnp.exp(path.log_std)[:, None] * noise[None]
  flat = (path.mean[:, None] + spread).reshape(-1, noise.shape[-1])
  mean_of = lambda x: jnp.mean(x.reshape(-1, num_read), axis=-1)
  kl = divergences.gaussian_kl(path.mean, 2 * path.log_std)
  return kl, mean_of(true(flat)), mean_of(proxy(flat))


class Frontier(NamedTuple):
  """Panels side by side: true reward solid, the proxy dashed."""

  panels: Mapping[str, Curves]
  proxies: Mapping[str, Mapping[str, np.ndarray]]

  def draw(self):
    """The figure; the axes leave out a proxy that runs away."""
    figure, axes = figures.new_figure(9.6, 3.8)
    axes.remove()
    grid = figure.subplots(1, len(self.panels))
    for axes, (title, curves) in zip(grid, self.panels.items()):
      self._panel(axes, title, curves)
    grid[0].set_ylabel("reward, in std of the reference")
    grid[-1].legend(
        fontsize=7, frameon=False, title="solid: true reward\ndashed: proxy",
        title_fontsize=7,
    )
    return figure

  def _panel(self, axes, title, curves):
    for i, (name, values) in enumerate(curves.lines.items()):
      colour = figures.palette(i + 1)[i]
      mean, low, high = intervals.mean_intervals(values)
      axes.plot(curves.x, mean, color=colour, label=name)
      axes.fill_between(curves.x, low, high, color=colour, alpha=0.15)
      seen = np.mean(self.proxies[title][name], axis=0)
      axes.plot(curves.x, seen, "--", color=colour, linewidth=0.9)
    axes.set(xlabel=curves.x_label, title=title)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_ylim(*_limits(curves))


def _limits(curves):
  """Of what is true: a proxy that runs away leaves the picture."""
  means = np.stack([np.mean(x, axis=0) for x in curves.lines.values()])
  low, high = np.min(means), np.max(means)
  return low - 0.3 * (high - low), high + 0.6 * (high - low)


def interpolated(kl, values, grid):
  """Values of one run where its path first has each KL; NaN beyond it."""
  rising = np.maximum.accumulate(kl)
  return np.interp(grid, rising, values, right=np.nan)


def _along(found, grid):
  """`[seeds, len(grid)]` true reward and proxy of every rule."""
  at = lambda kl, y: np.stack(
      [interpolated(*run, grid) for run in zip(kl, y)]
  )
  true = {k: at(kl, y) for k, (kl, y, _) in found.items()}
  seen = {k: at(kl, y) for k, (kl, _, y) in found.items()}
  return true, seen


def frontier(
    *, seed, num_seeds, limit, num_prompts, num_candidates, sizes, grid,
    coefficient, std_coefficient, num_steps, num_samples, rl_rate, penalty,
    num_read, falls, model,
) -> Study:
  """True reward and proxy over KL, by best-of-n and by policy gradient.

  `falls` is how far the single model has to fall from its peak under RL.
  """
  table = proxies.rules(coefficient, std_coefficient)
  dim, sizes = model["dim"], jnp.asarray(sizes)
  kl_of_n = overoptimization.best_of_n_kl(sizes)

  def read(key, proxy):
    keys = split_named(key, "candidates", "reference", "path", "samples")
    members = lambda x: proxies.members_of(proxy, x, model["activation"])
    true = lambda x: gold.value(proxy.truth, x, limit=limit)
    x = gold.candidates(keys["candidates"], (num_prompts, num_candidates),
                        dim=dim)
    scores, rewards = members(x), true(x)
    curve = lambda by, y: jnp.mean(
        overoptimization.best_of_n_curve(by, y, sizes), axis=0
    )

    def one(number):
      rule = lambda m: jax.lax.switch(number, list(table.values()), m)
      by = rule(scores)
      mean, std = jnp.mean(by), jnp.std(by)
      scaled = lambda x: (rule(members(x)) - mean) / std
      chosen = kl_of_n, curve(by, rewards), curve(by, (by - mean) / std)
      path = climb(
          keys["path"], scaled, dim=dim, num_steps=num_steps,
          num_samples=num_samples, learning_rate=rl_rate, penalty=penalty,
      )
      return chosen, read_path(
          keys["samples"], path, true, scaled, num_read=num_read
      )

    return jax.vmap(one)(jnp.arange(len(table)))

  train = lambda key: proxies.train_members(key, **model)
  chosen, trained = models.in_two_stages(
      train, read, seed_keys(seed, num_seeds)
  )
  by_rule = lambda found: {
      name: tuple(x[:, i] for x in found) for i, name in enumerate(table)
  }
  chosen, trained = by_rule(chosen), by_rule(trained)
  best, best_seen = _along(chosen, np.asarray(kl_of_n))
  path, path_seen = _along(trained, np.asarray(grid))
  reached = np.all([np.isfinite(x).all(0) for x in path.values()], axis=0)
  path = {k: x[:, reached] for k, x in path.items()}
  path_seen = {k: x[:, reached] for k, x in path_seen.items()}
  return _report(
      {"best of n": best, "policy gradient": path},
      {"best of n": best_seen, "policy gradient": path_seen},
      {"best of n": np.asarray(kl_of_n),
       "policy gradient": np.asarray(grid)[reached]},
      falls,
  )


def _report(true, seen, kls, falls) -> Study:
  path, best = true["policy gradient"], true["best of n"]
  last = {k: np.mean(x[:, -1]) for k, x in path.items()}
  careful = ("worst case", "mean - k std", "mean - k variance")
  passed = (
      proxies.fall(path["single"]) >= falls
      and min(last[k] for k in careful) > last["mean"] > last["single"]
      and all(
          np.mean(best[k][:, -1]) > np.mean(best["single"][:, -1])
          for k in careful
      )
  )
  rows = []
  for how, by_rule in true.items():
    for name, x in by_rule.items():
      top = np.max(x, axis=1)
      rows += [
          mean_row(f"{how}, {name}", "highest true reward", top),
          mean_row(f"{how}, {name}", "at the largest KL", x[:, -1]),
          mean_row(f"{how}, {name}", "KL of the highest",
                   kls[how][np.argmax(x, axis=1)]),
          mean_row(f"{how}, {name}", "proxy at the largest KL",
                   seen[how][name][:, -1]),
      ]
      if name != "single":
        gained = x[:, -1] - by_rule["single"][:, -1]
        rows.append(
            mean_row(f"{how}, {name}", "there, over single", gained)
        )
  curves = lambda how: Curves(
      kls[how], true[how], "KL to the start, nats", "true reward"
  )
  return Study(
      "The over-optimisation frontier",
      "Under policy gradient the true reward of the single model ends at least "
      f"{falls:g} below its peak, and at the largest KL every careful rule > "
      "mean > single; best-of-n by every careful rule ends above the single "
      "model's",
      bool(passed),
      rows,
      {"overoptimization_frontier": Frontier(
          {how: curves(how) for how in true}, seen
      )},
      "Means over seeds with 95 % Student-t intervals. Rewards are in units "
      "of their std under the reference; the largest KL is "
      f"{kls['best of n'][-1]:.1f} nats of best-of-n and "
      f"{kls['policy gradient'][-1]:g} nats of policy gradient.",
  )
