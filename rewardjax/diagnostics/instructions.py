"""Whether a reward follows small changes of what was asked.

Two instructions that look alike and want different answers, x with y and x'
with y': four rewards of two instructions and two answers.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.diagnostics.comparisons import Ties, pairwise_accuracy

Square = Float[Array, "*batch 2 2"]  # [instruction, answer]


def contrast_pairs(
    embeddings: np.ndarray, *, low: float = 0.75, high: float = 0.9
) -> np.ndarray:
  """Pairs of instructions that are near, but not the same.

  Args:
    embeddings: `[N, D]`, of the instructions; any length.
    low: least cosine.
    high: largest cosine; above it two instructions may ask the same.

  Returns:
    `[P, 2]` indices, the smaller first. Leave out pairs with equal answers.

  Raises:
    ValueError: if `low` is not below `high`.
  """
  checks.within("contrast_pairs", -1.0, high, high_open=True, low=low)
  x = np.asarray(embeddings, np.float64)
  length = np.linalg.norm(x, axis=-1, keepdims=True)
  x = x / np.where(length > 0, length, 1.0)
  cosine = x @ x.T
  near = (cosine > low) & (cosine < high)
  return np.argwhere(np.triu(near, 1))


def response_consistency(
    rewards: Square,
    mask: Bool[Array, "*batch"] | None = None,
    *,
    ties: Ties = "strict",
) -> Mean:
  """C_res: to each instruction its own answer scores above the other's.

  Args:
    rewards: [i, j] of answer j to instruction i.
    mask: True for real quadruples.
    ties: what an equal score counts; strict: a tie is a failure.

  Returns:
    Mean over both instructions of every quadruple.

  References:
    Shen et al., "The Trickle-down Impact of Reward (In-)consistency on RLHF",
      2023, arXiv:2309.16155.
  """
  own = jnp.stack([rewards[..., 0, 0], rewards[..., 1, 1]], axis=-1)
  other = jnp.stack([rewards[..., 0, 1], rewards[..., 1, 0]], axis=-1)
  return _mean("response_consistency", own, other, mask, ties)


def instruction_consistency(
    rewards: Square,
    mask: Bool[Array, "*batch"] | None = None,
    *,
    ties: Ties = "strict",
) -> Mean:
  """C_ins: an answer scores above under its own instruction.

  A reward that does not read the instruction has 0 with strict ties.

  Args, references: as `response_consistency`.
  """
  own = jnp.stack([rewards[..., 0, 0], rewards[..., 1, 1]], axis=-1)
  other = jnp.stack([rewards[..., 1, 0], rewards[..., 0, 1]], axis=-1)
  return _mean("instruction_consistency", own, other, mask, ties)


def _mean(where, own, other, mask, ties):
  checks.same_shape(where, quadruples=own[..., 0], mask=mask)
  right = pairwise_accuracy(own, other, ties=ties)
  if mask is None:
    return Mean.of(right)
  return Mean.of(right, jnp.broadcast_to(mask[..., None], right.shape))
