"""A penalty on KL against stopping early, where the true reward is known.

Gao et al. ("Scaling Laws for Reward Model Overoptimization", 2022) find that
a penalty acts as stopping early does: it ends on the same curve of true reward
over KL. The criterion was fixed before the first run.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies import ensembles as proxies
from experiments.reward_studies import frontier, models
from experiments.reward_studies.beds import gold
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.training import figures, intervals


class Ends(NamedTuple):
  """Where each penalty ends, beside the path without one; a panel a rule.

  paths: `[seeds, len(grid)]` true reward of each rule without a penalty.
  ends: KL and true reward of each rule, `[seeds, penalties]`.
  """

  paths: Mapping[str, np.ndarray]
  ends: Mapping[str, tuple[np.ndarray, np.ndarray]]
  penalties: Sequence[float]
  grid: Sequence[float]

  def draw(self):
    """The figure; ends past the last KL of the grid are left out."""
    figure, axes = figures.new_figure(2.4 * len(self.paths), 3.2)
    axes.remove()
    grid = figure.subplots(1, len(self.paths), sharey=True, squeeze=False)[0]
    for axes, name in zip(grid, self.paths):
      self._panel(axes, name)
    grid[0].set_ylabel("true reward, in std of the reference")
    grid[-1].legend(
        fontsize=7, frameon=False, title="weight of KL", title_fontsize=7,
        loc="lower left",
    )
    return figure

  def _panel(self, axes, name):
    mean, low, high = intervals.mean_intervals(self.paths[name])
    x = np.sqrt(self.grid)
    axes.plot(x, mean, color="black", label="0, the path")
    axes.fill_between(x, low, high, color="black", alpha=0.12)
    kl, true = self.ends[name]
    for i, penalty in enumerate(self.penalties[1:], 1):
      if np.mean(kl[:, i]) > self.grid[-1]:
        continue
      mean, low, high = intervals.mean_intervals(true[:, i])
      axes.errorbar(
          np.sqrt(np.mean(kl[:, i])), mean, [[mean - low], [high - mean]],
          fmt="o", markersize=4, linewidth=0.9,
          color=figures.palette(i)[i - 1], label=f"{penalty:g}",
      )
    axes.set(xlabel="root of KL to the start", title=name)
    axes.grid(alpha=0.3, linewidth=0.5)


def _trained(key, proxy, table, penalties, *, limit, num_reference, activation,
             num_read, every, **path):
  """KL, true reward and proxy `[rules, penalties, reads]` along all paths."""
  keys = split_named(key, "reference", "path", "samples")
  dim = proxy.truth.kernel.shape[0]
  members = lambda x: proxies.members_of(proxy, x, activation)
  true = lambda x: gold.value(proxy.truth, x, limit=limit)
  scores = members(gold.candidates(keys["reference"], (num_reference,),
                                   dim=dim))

  def one(number, penalty):
    rule = lambda m: jax.lax.switch(number, list(table.values()), m)
    mean, std = jnp.mean(rule(scores)), jnp.std(rule(scores))
    scaled = lambda x: (rule(members(x)) - mean) / std
    policies = frontier.climb(
        keys["path"], scaled, dim=dim, penalty=penalty, **path
    )
    return frontier.read_path(
        keys["samples"], policies, true, scaled, num_read=num_read,
        every=every,
    )

  over_penalties = jax.vmap(one, (None, 0))
  return jax.vmap(over_penalties, (0, None))(
      jnp.arange(len(table)), jnp.asarray(penalties)
  )


def path_at(at, kl, values):
  """Of each run, what its path had where it first had each KL `at`."""
  return np.array([
      frontier.interpolated(path, y, min(x, np.max(path)))
      for x, path, y in zip(at, kl, values)
  ])


def frontier_kl(
    *, seed, num_seeds, penalties, coefficient, std_coefficient, tail, grid,
    within, falls, model, **options,
) -> Study:
  """Ends of policy gradient under KL penalties, and the path without one.

  Args:
    penalties: weights of the KL, the first 0.
    tail: reads at the end of a path whose mean is its end.
    grid: KLs at which the path without a penalty is read; it goes on.
    within: how far from the path at the same KL an end may lie.
    falls: how far the single model has to fall without a penalty.
  """
  table = proxies.rules(coefficient, std_coefficient)
  kl, true, seen = models.in_two_stages(
      lambda key: proxies.train_members(key, **model),
      lambda key, proxy: _trained(
          key, proxy, table, penalties, activation=model["activation"],
          **options,
      ),
      seed_keys(seed, num_seeds),
  )
  end = lambda x: np.mean(x[..., -tail:], axis=-1)
  paths = {
      name: np.stack([
          frontier.interpolated(*run, grid)
          for run in zip(kl[:, i, 0], true[:, i, 0])
      ])
      for i, name in enumerate(table)
  }
  rows, gaps = [], []
  for i, (name, path) in enumerate(paths.items()):
    best = np.asarray(grid)[np.argmax(path, axis=1)]
    rows += [
        mean_row(f"{name}, the path", "highest true reward", np.max(path, 1)),
        mean_row(f"{name}, the path", "KL of the highest", best),
    ]
    for j, penalty in enumerate(penalties[1:], 1):
      run = f"{name}, KL x {penalty:g}"
      at, *ended = [end(x[:, i, j]) for x in (kl, true, seen)]
      rows.append(mean_row(run, "KL", at))
      for what, x, whole in zip(("true reward", "proxy"), ended, (true, seen)):
        less = x - path_at(at, kl[:, i, 0], whole[:, i, 0])
        rows += [
            mean_row(run, what, x),
            mean_row(run, f"{what} less the path's", less),
        ]
        gaps += [np.mean(less)] if what == "true reward" else []
  near = np.max(np.abs(gaps)) <= within
  return Study(
      "A penalty on KL, or stopping early",
      f"Without a penalty the single model falls by at least {falls:g} from "
      "its peak, and with every rule each penalty's end is on average within "
      f"{within:g} of the path without a penalty at the same KL",
      bool(near and proxies.fall(paths["single"]) >= falls),
      rows,
      {"frontier_kl": Ends(
          paths,
          {k: (end(kl[:, i]), end(true[:, i])) for i, k in enumerate(table)},
          penalties, grid,
      )},
      "Means over seeds with 95 % Student-t intervals. Rewards are in units "
      "of their std under the reference. The path is read, run by run, where "
      "it first has the KL of the end, or at its own end if it never does.",
  )
