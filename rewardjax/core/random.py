"""Keys: split by name, folded by step and by global example id."""

import jax
from jaxtyping import Array, Int, Key


def split_named(key: Key[Array, ""], *names: str) -> dict[str, Key[Array, ""]]:
  """One key per name; `key` is consumed.

  A key depends on the position of its name, not on its spelling.

  Raises:
    ValueError: if a name occurs twice: two draws would share one key.
  """
  if len(set(names)) < len(names):
    raise ValueError(f"split_named: names must differ, got {names}.")
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
