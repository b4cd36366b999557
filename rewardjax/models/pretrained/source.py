"""What a checkpoint says of itself, whatever its file format.

Names of fields and tensors are Hugging Face's: every format is translated
into them once, and everything after that knows one language.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Source(NamedTuple):
  """An open checkpoint, of which no tensor has been read.

  Matrices are [outputs, inputs], tables [vocabulary, width]. Queries and keys
  are laid out for RoPE on channel pairs (i, i + H/2).
  """

  where: str  # begins the messages
  config: dict[str, Any]  # as in config.json
  shapes: dict[str, tuple[int, ...]]  # by name of the tensor
  # One tensor, by name, that shares no memory with the file.
  read: Callable[[str], Float[np.ndarray, "..."]]
