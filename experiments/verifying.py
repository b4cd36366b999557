"""Verifiers of `experiments.rlvr`: on tokens inside the program, or on text.

A text verifier runs on the host, in worker processes with a time-out; what
hangs, raises or returns no number is an invalid sample, counted in the
metrics `verifier/<status>`.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import ml_collections as mlc
import numpy as np

from experiments.choices import choose
from experiments.tasks import Problems, Task
from rewardjax.rewards.verifiers import (
    adapters,
    answers,
    formats,
    math,
    pool,
    text,
    tokens,
    verdicts,
)
from rewardjax.types import Reward, Rollouts, Status


def user_function(path: str) -> Callable:
  """The function at `package.module:function`."""
  module, _, name = path.partition(":")
  try:
    return getattr(importlib.import_module(module), name)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(
        "config.verifier.function must be package.module:function, got "
        f"{path!r}: {error}."
    ) from error


# None: compiled into the step. Otherwise from options to a text verifier.
VERIFIERS = {
    "tokens": None,
    "exact_match": lambda o: text.exact_match,
    "strict": lambda o: answers.strict,
    "strict_ending": lambda o: functools.partial(
        answers.strict, ends_with=True
    ),
    "math_verify": lambda o: math.math_verify,
    "multiple_choice": lambda o: formats.multiple_choice,
    "numeric": lambda o: functools.partial(
        text.numeric, relative_tolerance=o.tolerance
    ),
    "closeness": lambda o: text.continuous_reward,
    "trl": lambda o: adapters.from_trl(user_function(o.function)),
    "tunix": lambda o: adapters.from_tunix(user_function(o.function)),
}

# These evaluate what a policy wrote: their workers may neither write nor
# reach the network.
JAILED = ("math_verify",)

# What an answer that cannot be read is worth.
UNPARSABLE = {"wrong": 0.0, "invalid": "invalid"}


def match_tokens(
    problems: Problems, rollouts: Rollouts, stop_tokens: tuple[int, ...]
) -> Reward:
  """1 where a completion is the reference token by token; pure."""
  return tokens.exact_match(
      rollouts.tokens,
      rollouts.mask,
      rollouts.truncated,
      problems.answers[:, None],
      problems.answer_mask[:, None],
      stop_tokens=stop_tokens,
  )


class HostVerdicts(NamedTuple):
  """Rewards `[A, S, B, G]`, and the share of each status, `[A, S]`."""

  reward: Reward
  metrics: dict[str, np.ndarray]


class HostVerifier:
  """A text verifier over rollouts; use it in a `with` block."""

  def __init__(self, name: str, options: mlc.ConfigDict, task: Task):
    make = choose("verifier.name", VERIFIERS, name)
    self._task = task
    self._unparsable = choose(
        "verifier.unparsable", UNPARSABLE, options.unparsable
    )
    self._pool = pool.VerifierPool(
        make(options),
        timeout_s=options.timeout_s,
        num_workers=options.num_workers,
        chunk_size=options.chunk_size,
        memory_mb=options.memory_mb or None,
        jailed=name in JAILED,
    )

  def __call__(self, problems: Problems, rollouts: Rollouts) -> HostVerdicts:
    """Judges `[A, S, B, G]` completions of `[A, S, B]` prompts."""
    problems, rollouts = jax.device_get((problems, rollouts))
    tokenizer, shape = self._task.tokenizer, rollouts.truncated.shape
    repeat = lambda texts: list(np.repeat(texts, shape[-1]))
    decode = tokenizer.decode_batch
    found = self._pool(
        repeat(decode(problems.prompts, problems.prompt_mask)),
        decode(rollouts.tokens, rollouts.mask),
        repeat(decode(problems.answers, problems.answer_mask)),
    )
    reward = verdicts.to_reward(found, shape, unparsable=self._unparsable)
    status = np.reshape([int(x.status) for x in found], shape)
    share = lambda x: np.mean(status == x, axis=(-2, -1), dtype=np.float32)
    return HostVerdicts(
        reward, {f"verifier/{x.name.lower()}": share(x) for x in Status}
    )

  def __enter__(self) -> "HostVerifier":
    return self

  def __exit__(self, *error) -> None:
    self._pool.close()


@contextlib.contextmanager
def host_verifiers(
    arms: Iterable[mlc.FrozenConfigDict], task: Task
) -> Iterator[dict[str, HostVerifier]]:
  """The text verifiers that any arm names; their workers end with the block."""
  with contextlib.ExitStack() as stack:
    found = {}
    for arm in arms:
      for name in {arm.verifier.name, arm.verifier.trusted} - {"tokens"}:
        if name not in found:
          verifier = HostVerifier(name, arm.verifier, task)
          found[name] = stack.enter_context(verifier)
    yield found
