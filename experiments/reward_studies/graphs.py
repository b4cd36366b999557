"""Which answers to compare; the criterion was fixed before the first run."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.diagnostics import uncertainty
from rewardjax.search import prefix_tree


def reward_topology(
    *, seed, num_seeds, depth, num_symbols, branch, counts, weights, noise
) -> Study:
  """Pairs of one prefix tree, or of independent answers, in closed form.

  Prior rewards of two answers have a covariance of the weights of the prefix
  they share. The same number of pairs, not of answers.
  """
  answers = jnp.asarray(
      list(itertools.product(range(num_symbols), repeat=depth))
  )
  powers = num_symbols ** jnp.arange(depth)[::-1]
  total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.asarray(weights))])
  draw = lambda key, prefix, n: jax.random.randint(key, (), 0, num_symbols)
  covariance = lambda a, b: total[prefix_tree.shared_length(a, b)]

  def left_of(kernel, pairs, rows):
    """Mean variance of a difference, over pairs of two of the `rows`."""
    spread = uncertainty.difference_variance(kernel, pairs, noise=noise)
    spread = spread[rows][:, rows]
    return jnp.sum(spread) / (rows.size * (rows.size - 1))

  def run(key):
    keys = split_named(key, "tree", "tree pairs", "chain", "test")
    leaves = prefix_tree.prefix_tree(
        keys["tree"], draw, depth=depth, branch=branch
    )
    leaves = leaves @ powers  # numbers of answers
    test = jax.random.choice(
        keys["test"], len(answers), (len(leaves),), replace=False
    )
    out = {}
    for count in counts:
      ends = prefix_tree.tree_pairs(
          keys["tree pairs"], len(leaves), num_pairs=count
      )
      chain = jax.random.randint(
          keys["chain"], (count, 2), 0, len(answers)
      )
      for name, pairs in {"tree": leaves[ends], "chain": chain}.items():
        # Only answers that are compared or read have a row in the kernel.
        rows = jnp.concatenate([leaves, test, pairs.reshape(-1)])
        seen = answers[rows]
        kernel = covariance(seen[:, None], seen[None])
        size = leaves.size
        at = 2 * size + jnp.arange(2 * count).reshape(count, 2)
        out[f"{name}, {count} pairs"] = {
            "on the tree": left_of(kernel, at, jnp.arange(size)),
            "everywhere": left_of(kernel, at, size + jnp.arange(size)),
        }
    return out

  found = jax.device_get(
      jax.jit(lambda keys: jax.lax.map(run, keys))(seed_keys(seed, num_seeds))
  )
  at = lambda kind, n: found[f"{kind}, {n} pairs"]
  passed = all(
      np.all(at("tree", n)["on the tree"] < at("chain", n)["on the tree"])
      and np.mean(at("tree", n)["everywhere"])
      > np.mean(at("chain", n)["everywhere"])
      for n in counts
  )
  return Study(
      "Reward topology: comparisons on a prefix tree",
      "With the same number of pairs a tree leaves less variance on its own "
      "leaves in every run, and more on average on answers from everywhere",
      bool(passed),
      [
          mean_row(name, metric, x)
          for name, metrics in found.items()
          for metric, x in metrics.items()
      ],
      {},
      f"{NOTE} Posterior variance of the difference of two answers.",
  )
