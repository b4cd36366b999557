"""What a tree search says of the steps it took, each checked by itself too."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def hybrid_rollout_value(
    verdicts: Float[Array, "*batch N"],
    final: Float[Array, "*batch"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    final_weight: Scalar | None = None,
) -> Float[Array, "*batch"]:
  """u = (1/n) sum_i v_i (n - i) / n + F / n: what a rollout says of its start.

  Args:
    verdicts: v, 1 or -1, of the n steps after the start and before the
      answer, i = 0 .. n-1; earlier ones count more.
    final: F, 1 or -1, whether the answer is right.
    mask: True for real steps, which come first; None means all.
    final_weight: of F in the place of 1 / n.

  Returns:
    Float32 or wider; F where n = 0.

  Gradient: flows through `verdicts` and `final`.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "GroundedPRM: Tree-Guided and Fidelity-Aware Process Reward Modeling".
  """
  where = "hybrid_rollout_value"
  checks.same_shape(where, verdicts=verdicts, mask=mask)
  if final.shape != verdicts.shape[:-1]:
    raise ValueError(
        f"{where}: final must be [*batch] for verdicts [*batch, N], got "
        f"{final.shape} for {verdicts.shape}."
    )
  n = masking.count(verdicts, mask, -1)
  final = masking.as_accumulator(final)
  places = jax.lax.broadcasted_iota(n.dtype, verdicts.shape, verdicts.ndim - 1)
  safe = jnp.maximum(n, 1)
  early = (n[..., None] - places) / safe[..., None]
  steps = masking.masked_sum(verdicts * early, mask, -1) / safe
  weight = 1 / safe if final_weight is None else final_weight
  return jnp.where(n > 0, steps + weight * final, final)


class PathLabels(NamedTuple):
  """Labels of the steps of chains; only those under the mask are kept."""

  labels: Bool[Array, "*batch K"]
  mask: Bool[Array, "*batch K"]


def path_labels(
    values: Float[Array, "*batch K"],
    verdicts: Float[Array, "*batch K"],
    correct: Bool[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> PathLabels:
  """A step is what its value says, where its own check says the same.

  A wrong chain ends before the first step after its first error whose value
  is not negative: from there on it is a chain about something else.

  Args:
    values: of the nodes; 0 counts as right.
    verdicts: 1 or -1 of their own checks.
    correct: whether the chain's answer is right.
    mask: True for real steps; None means all.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "GroundedPRM: Tree-Guided and Fidelity-Aware Process Reward Modeling".
  """
  where = "path_labels"
  checks.same_shape(where, values=values, verdicts=verdicts, mask=mask)
  checks.same_shape(where, correct=correct, chains=values[..., 0])
  mask = jnp.ones(values.shape, bool) if mask is None else mask
  labels = mask & (values >= 0)
  agree = labels == (verdicts > 0)
  erred = jnp.cumsum(mask & ~labels, axis=-1) > 0
  recovered = jnp.cumsum(erred & labels, axis=-1) > 0
  kept = mask & agree & ~(recovered & ~correct[..., None])
  return PathLabels(labels, kept)
