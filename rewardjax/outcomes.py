"""What a verifier says of one completion.

Apart from `types`, which hands them on: a process that only verifies starts
without JAX.
"""

import enum
from typing import NamedTuple


class Status(enum.IntEnum):
  """What a verifier found; the last three say that the score is unknown."""

  WRONG = 0
  CORRECT = 1
  UNPARSABLE = 2
  TIMEOUT = 3
  CRASHED = 4


class Verdict(NamedTuple):
  """A host verifier's answer for one completion.

  `score` is None when the status leaves it unknown; `detail` is a short
  reason for the log.
  """

  score: float | None
  status: Status
  detail: str = ""
