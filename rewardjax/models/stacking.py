"""Two layouts of a transformer's parameters: one tree per layer, or stacks.

Stacked parameters train in one compiled layer (`scan_layers`); a tree per
layer decodes faster and is what checkpoints of other libraries hold.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from rewardjax.models.transformer import Transformer


def stack_layers(params: PyTree, num_layers: int) -> PyTree:
  """Parameters of an unrolled model in the layout of a scanned one."""
  rest = dict(params)
  each = [rest.pop(f"layers_{i}") for i in range(num_layers)]
  return {**rest, "layers": jax.tree.map(lambda *x: jnp.stack(x), *each)}


def unstack_layers(params: PyTree, num_layers: int) -> PyTree:
  """Parameters of a scanned model in the layout of an unrolled one."""
  rest = dict(params)
  stacked = rest.pop("layers")
  for i in range(num_layers):
    rest[f"layers_{i}"] = jax.tree.map(lambda x: x[i], stacked)  # noqa: B023
  return rest


def unroll(model: Transformer, params: PyTree) -> tuple[Transformer, PyTree]:
  """The same function with a parameter tree per layer.

  A decoder reads its layers at every token: sliced out of stacks each time
  they would be copied each time. Do it once, outside of the loop.
  """
  if not model.scan_layers:
    return model, params
  return model.clone(scan_layers=False), unstack_layers(
      params, model.num_layers
  )
