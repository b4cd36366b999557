"""Which policy wrote this? Comparisons that need no preferences."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from rewardjax.core import checks
from rewardjax.core.random import split_named


class PolicyPairs(NamedTuple):
  """Indices: two samples are drawn of `same`, one of `other`."""

  same: Int[Array, " N"]
  other: Int[Array, " N"]


def policy_pairs(
    key: Key[Array, ""], *, num_policies: int, num_pairs: int
) -> PolicyPairs:
  """Two different policies for each comparison, all pairs alike.

  Of `same` draw the reference and the chosen answer, two different samples;
  of `other` the rejected one, anew for each pair: a sample that is rejected
  again and again would be known by itself. The loss is
  `pairwise.pairwise_logistic` of r(x, reference, chosen) - r(x, reference,
  rejected); a reward that ignores the reference cannot get below log 2.

  Args:
    key: consumed.
    num_policies: at least 2 (static).
    num_pairs: N (static).

  Raises:
    ValueError: if a number is too small.

  References:
    Dou et al., "Pre-Trained Policy Discriminators are General Reward Models",
      2025, arXiv:2507.05197 (POLAR).
  """
  where = "policy_pairs"
  checks.at_least(where, 2, num_policies=num_policies)
  checks.at_least(where, 1, num_pairs=num_pairs)
  keys = split_named(key, "same", "gap")
  same = jax.random.randint(keys["same"], (num_pairs,), 0, num_policies)
  gap = jax.random.randint(keys["gap"], (num_pairs,), 1, num_policies)
  return PolicyPairs(same, jnp.mod(same + gap, num_policies))
