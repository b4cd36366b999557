"""Keys: split by name, folded by step and by global example id."""

import jax
from jaxtyping import Array, Int, Key


def split_named(key: Key[Array, ""], *names: str) -> dict[str, Key[Array, ""]]:
  """One key per name; `key` is consumed.

  Adding a name at the end changes the other keys, as with `jax.random.split`.
  """
  return dict(zip(names, jax.random.split(key, len(names))))


def keys_by_id(
    key: Key[Array, ""], ids: Int[Array, "*shape"]
) -> Key[Array, "*shape"]:
  """A key per global example id; `key` is consumed.

  A draw from the key of an example does not depend on which device, batch
  or position the example has.
  """
  fold = jax.random.fold_in
  for _ in ids.shape:
    fold = jax.vmap(fold, in_axes=(None, 0))
  return fold(key, ids)
