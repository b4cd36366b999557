"""Models on the line through two others."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from rewardjax.types import Scalar


def extrapolate(start: PyTree, end: PyTree, *, factor: Scalar) -> PyTree:
  """start + factor (end - start), leaf by leaf.

  Args:
    start: parameters training began with.
    end: parameters it came to, of one structure with `start`.
    factor: 0 is `start`, 1 is `end` (exactly); between them an average,
      beyond 1 further along the way that training took.

  Gradient: flows through both trees.

  Raises:
    ValueError: if the trees or the shapes of their leaves differ.

  References:
    Wang et al., "HelpSteer2-Preference: Complementing Ratings with
      Preferences", 2024.
  """
  trees = jax.tree.structure(start), jax.tree.structure(end)
  if trees[0] != trees[1]:
    raise ValueError(
        f"extrapolate: end must have the structure of start, got {trees[1]} "
        f"for {trees[0]}."
    )
  return jax.tree.map(lambda x, y: _between(x, y, factor), start, end)


def _between(x, y, factor):
  if jnp.shape(x) != jnp.shape(y):
    raise ValueError(
        f"extrapolate: end must have the shapes of start, got {jnp.shape(y)} "
        f"for {jnp.shape(x)}."
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    return y  # a counter has no place between
  factor = jnp.asarray(factor, x.dtype)
  # Written so that factors 0 and 1 give back the very numbers.
  return (1 - factor) * x + factor * y
