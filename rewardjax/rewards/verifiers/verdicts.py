"""From verdicts to arrays, by a policy that says what unknown means."""

import collections
import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

from rewardjax.core.masking import Mean
from rewardjax.rewards.verifiers.scores import is_finite
from rewardjax.types import Reward, Status, Verdict

# A score, or "invalid": the reward is unknown and takes no part in training.
Policy = float | int | Literal["invalid"]


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
    if policy != "invalid" and not is_finite(policy):
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
  if not is_finite(verdict.score):
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
