"""Looking up what a config string names, with errors that name the field."""

from collections.abc import Mapping
from typing import Any


def choose(field: str, table: Mapping[str, Any], name: str) -> Any:
  """table[name], or a ValueError with the config field and the choices."""
  if name not in table:
    raise ValueError(
        f"config.{field} must be one of {', '.join(table)}; got {name!r}."
    )
  return table[name]
