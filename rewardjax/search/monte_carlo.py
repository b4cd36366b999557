"""What a step is worth, by completing it many times."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import checks, masking, random

# (key, prefix, n) -> n completions: arrays with a leading axis n, or any
# objects where nothing is compiled.
Rollout = Callable[[Any, Any, int], Any]
# (prefix, completions) -> n verdicts: True, False, or NaN where unknown.
Verify = Callable[[Any, Any], Any]


def _share(verdicts) -> Float[Array, ""]:
  """The share of the known verdicts that are right; NaN if none is known."""
  verdicts = jnp.asarray(verdicts)
  if verdicts.dtype == bool:
    verdicts = verdicts.astype(jnp.float32)
  verdicts = masking.as_accumulator(verdicts)
  known = ~jnp.isnan(verdicts)
  share = masking.masked_mean(verdicts, known)
  return jnp.where(jnp.any(known), share, jnp.nan)


def mc_step_values(
    key: Key[Array, ""],
    rollout: Rollout,
    verify: Verify,
    prefixes: PyTree,
    *,
    num_samples: int,
) -> Float[Array, " S"]:
  """The share of completions of each prefix that verify; all at once.

  A prefix ends with the step to be valued. Its draws do not depend on how
  many prefixes there are.

  Args:
    key: consumed; prefix s gets `fold_in(key, s)`.
    rollout: `(key, prefix, n) -> completions`, compiled under `vmap`.
    verify: `(prefix, completions) -> n verdicts`, NaN where one is unknown.
    prefixes: arrays whose leading axis is S.
    num_samples: n (static).

  Returns:
    In [0, 1]; NaN where no verdict is known.

  Raises:
    ValueError: if `num_samples` is less than 1.

  References:
    Wang et al., "Math-Shepherd", 2023, arXiv:2312.08935.
  """
  checks.at_least("mc_step_values", 1, num_samples=num_samples)
  places = jnp.arange(jax.tree.leaves(prefixes)[0].shape[0])

  def one(key, prefix):
    return _share(verify(prefix, rollout(key, prefix, num_samples)))

  return jax.vmap(one)(random.keys_by_id(key, places), prefixes)


def values_until_zero(
    key: Key[Array, ""],
    rollout: Rollout,
    verify: Verify,
    prefixes: Sequence[Any],
    *,
    num_samples: int,
) -> np.ndarray:
  """The values of `mc_step_values` one by one, up to the first 0.

  Nothing after a step without a success is asked for: what it saves is most
  of the rollouts of chains with an early error.

  Args:
    key: consumed; prefix s gets the key it has in `mc_step_values`.
    rollout: as there; may call anything on the host.
    verify: as there.
    prefixes: one per step, of any type.
    num_samples: n.

  Returns:
    Float values [S], S at most the number of prefixes; the last one is 0 if
    any is.

  Raises:
    ValueError: if `num_samples` is less than 1.

  References:
    "SCAN: Self-Denoising Monte Carlo Annotation for Robust Process Reward
      Learning".
  """
  checks.at_least("values_until_zero", 1, num_samples=num_samples)
  values = []
  for place, prefix in enumerate(prefixes):
    completions = rollout(jax.random.fold_in(key, place), prefix, num_samples)
    values.append(float(_share(verify(prefix, completions))))
    if values[-1] == 0:
      break
  return np.array(values)


def tree_mc_scores(
    parents: Int[Array, " M"], correct: Bool[Array, " M"]
) -> Float[Array, " M"]:
  """Right leaves below a node / leaves below it; a leaf is below itself.

  Args:
    parents: of each node, always an earlier one; negative for a root.
    correct: whether a leaf's answer is right; not read elsewhere.

  Returns:
    In [0, 1], float32.

  Gradient: none.

  Raises:
    ValueError: if shapes differ.

  References:
    "Towards Hierarchical Multi-Step Reward Models" (HRM).
  """
  checks.same_shape("tree_mc_scores", parents=parents, correct=correct)
  size = parents.shape[0]
  # A root adds to the node behind the last one, which nobody reads.
  above = jnp.where(parents >= 0, parents, size)
  leaf = jnp.zeros(size + 1).at[above].add(1.0)[:size] == 0
  counts = jnp.stack([leaf, leaf & correct], -1).astype(jnp.float32)

  def fold(counts, node):
    return counts.at[above[node]].add(counts[node]), None

  counts = jnp.concatenate([counts, jnp.zeros((1, 2))])
  counts, _ = jax.lax.scan(fold, counts, jnp.arange(size), reverse=True)
  return counts[:size, 1] / counts[:size, 0]
