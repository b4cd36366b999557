"""From verdicts to arrays, by a policy that says what unknown means."""

import collections
import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from rewardjax.core.masking import Mean
from rewardjax.types import Reward, Status, Verdict

# A score, or "invalid": the reward is unknown and takes no part in training.
Policy = float | int | Literal["invalid"]


def from_scores(
    scores: Any, *, count: int, correct_above: float | int = 0.0
) -> list[Verdict]:
  """Verdicts from what a reward function returned, whatever that is.

  What is not a finite number is a crash of that item, and what does not
  hold `count` items a crash of all: never a 0, which would teach the policy
  that its answer was wrong.

  Args:
    scores: numbers in reward units, or verdicts, which pass if their score
      is finite or their status says that there is none.
    count: how many there must be.
    correct_above: a higher score has the status "correct".
  """
  if isinstance(scores, str | bytes | dict):
    crash = f"returned {type(scores).__name__}, not a list"
    return [_crashed(crash)] * count
  try:
    scores = list(scores)
  except Exception:  # an array of rank 0, None, a lazy object that fails
    crash = f"returned {type(scores).__name__}, not a list"
    return [_crashed(crash)] * count
  if len(scores) != count:
    crash = f"returned {len(scores)} results for {count} completions"
    return [_crashed(crash)] * count
  return [_verdict(score, correct_above) for score in scores]


def _crashed(detail: str) -> Verdict:
  return Verdict(None, Status.CRASHED, detail)


def _verdict(score: Any, correct_above: float | int) -> Verdict:
  if isinstance(score, Verdict):
    known = score.status in (Status.CORRECT, Status.WRONG)
    if known and not _is_finite(score.score):
      return _crashed(f"{score.status.name.lower()} with {score.score!r:.40}")
    return score
  if getattr(score, "ndim", None) == 0:  # a scalar of NumPy, JAX or torch
    score = score.item()
  if not _is_finite(score):
    return _crashed(f"returned {score!r:.40}")
  status = Status.CORRECT if score > correct_above else Status.WRONG
  return Verdict(float(score), status)


def _is_finite(score: Any) -> bool:
  try:
    return isinstance(score, numbers.Real) and math.isfinite(score)
  except OverflowError:  # an integer beyond the floats
    return False


def to_reward(
    verdicts: Sequence[Verdict],
    shape: tuple[int, ...] | None = None,
    *,
    unparsable: Policy,
    timeout: Policy = "invalid",
    crashed: Policy = "invalid",
) -> Reward:
  """Float32 values and their validity, by one explicit policy per status.

  Args:
    verdicts: in row-major order of `shape`.
    shape: of the result, such as (B, G); None is one axis.
    unparsable: score where the answer could not be read. A number trains
      the policy towards readable answers; "invalid" leaves them out.
    timeout: score where the verifier hung.
    crashed: score where the verifier failed.

  Returns:
    Rewards; the value is NaN where invalid, so that nobody reads it.

  Raises:
    ValueError: if a policy is neither a finite number nor "invalid", a known
      verdict has no finite score, or the verdicts do not fill `shape`.
  """
  policies = {"unparsable": unparsable, "timeout": timeout, "crashed": crashed}
  for name, policy in policies.items():
    if policy != "invalid" and not _is_finite(policy):
      raise ValueError(
          f'to_reward: {name} must be a finite number or "invalid", got '
          f"{policy!r}."
      )
  shape = (len(verdicts),) if shape is None else tuple(shape)
  if math.prod(shape) != len(verdicts):
    raise ValueError(
        f"to_reward: {len(verdicts)} verdicts do not fill shape {shape}."
    )
  value = np.array([_score(x, policies) for x in verdicts], np.float32)
  value = value.reshape(shape)
  return Reward(jnp.asarray(value), jnp.asarray(~np.isnan(value)))


def _score(verdict: Verdict, policies: dict[str, Policy]) -> float:
  policy = policies.get(verdict.status.name.lower())
  if policy is not None:
    return math.nan if policy == "invalid" else float(policy)
  if not _is_finite(verdict.score):
    raise ValueError(f"to_reward: a known verdict has no score: {verdict}.")
  return float(verdict.score)


def status_counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
  """How many verdicts have each status; every status is a key."""
  counts = collections.Counter(verdict.status for verdict in verdicts)
  return {status.name.lower(): counts[status] for status in Status}


def status_metrics(verdicts: Sequence[Verdict]) -> dict[str, Mean]:
  """The share of each status, as `verifier/<status>`."""
  weight = jnp.asarray(float(len(verdicts)))
  return {
      f"verifier/{name}": Mean(jnp.asarray(float(count)), weight)
      for name, count in status_counts(verdicts).items()
  }
