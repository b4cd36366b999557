"""Which variants of a text to keep: those that stand out."""

import numpy as np


def convex_hull_augment(embeddings: np.ndarray) -> np.ndarray:
  """The corners of the variants of a text, seen from its two main directions.

  Replacing a chosen answer by its outermost variants shows a reward model
  how far the same answer may look different; variants in between add little.
  Reword the rejected answer as well, or a trace of rewording tells the label.
  Compare at equal numbers of pairs.

  Args:
    embeddings: [V, D] of the variants, the text itself among them.

  Returns:
    Their places, ascending; two for variants on one line, one where all are
    equal. Of equal variants the first.

  Raises:
    ValueError: if `embeddings` is no matrix of finite numbers with a row.

  References:
    "The Trickle-down Impact of Reward (In-)consistency on RLHF" (ConvexDA).
  """
  points = np.asarray(embeddings, np.float64)
  if points.ndim != 2 or not points.size or not np.isfinite(points).all():
    raise ValueError(
        "convex_hull_augment: embeddings must be [V, D] and finite, got shape "
        f"{points.shape}."
    )
  centred = points - points.mean(axis=0)
  _, scale, directions = np.linalg.svd(centred, full_matrices=False)
  flat = centred @ directions[:2].T
  flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
  # Rounded to what the decomposition knows: a line must stay a line.
  unit = max(1e-9 * scale[0], 1e-12 * np.abs(points).max(), 1e-300)
  flat = np.round(flat / unit)
  _, first = np.unique(flat, axis=0, return_index=True)
  lower, upper = _chain(flat, first), _chain(flat, first[::-1])
  return np.unique(lower + upper)


def _chain(points, order):
  """One side of the hull of points in lexicographic order."""
  kept = []
  for i in order:
    while len(kept) > 1 and _turn(*points[[kept[-2], kept[-1], i]]) <= 0:
      kept.pop()
    kept.append(int(i))
  return kept


def _turn(a, b, c):
  """Positive where a, b, c turn left; 0 on a line, up to rounding."""
  (ux, uy), (vx, vy) = b - a, c - a
  area, size = ux * vy - uy * vx, np.hypot(ux, uy) + np.hypot(vx, vy)
  return area if abs(area) > 2 * size else 0.0
