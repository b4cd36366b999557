"""Verifiers of `experiments.rlvr`: on tokens inside the program, or on text.

A text verifier runs on the host, in worker processes with a time-out; what
hangs, raises or returns no number is an invalid sample, counted in the
metrics `verifier/<status>`.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np

from experiments import commands
from experiments.choices import choose
from experiments.tasks import Problems, Task
from rewardjax.rewards import marks, patterns, routes
from rewardjax.rewards.verifiers import (
    adapters,
    answers,
    formats,
    math,
    parsing,
    pool,
    text,
    tokens,
    tool_calls,
    verdicts,
)
from rewardjax.types import Reward, Rollouts, Status


def user_function(path: str) -> Callable:
  """The function at `package.module:function`."""
  return commands.function_at(
      path, "config.verifier.function must be package.module:function"
  )


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
    "form": lambda o: patterns.reasoning_form,
    "routes": lambda o: routes.routes,
    "tool_calls": lambda o: tool_calls.tool_calls,
    "trl": lambda o: adapters.from_trl(user_function(o.function)),
    "tunix": lambda o: adapters.from_tunix(user_function(o.function)),
}

# These evaluate what a policy wrote: their workers may neither write nor
# reach the network.
JAILED = ("math_verify",)

# These read the working too, not only what follows `task.answer_mark`.
WHOLE = ("form", "tool_calls", "trl", "tunix")

# What an answer that cannot be read is worth.
UNPARSABLE = {"wrong": 0.0, "invalid": "invalid"}


def match_tokens(
    problems: Problems,
    rollouts: Rollouts,
    stop_tokens: tuple[int, ...],
    mark: tuple[int, ...] = (),
) -> Reward:
  """1 where the answer is the reference token by token; pure.

  The answer is what follows the last mark; without one there is no answer.
  """
  said = rollouts.tokens, rollouts.mask
  if mark:
    parts = marks.split(*said, mark=mark, stop_tokens=stop_tokens)
    said = marks.align(rollouts.tokens, parts.answer)
  reward = tokens.exact_match(
      *said,
      rollouts.truncated,
      problems.answers[:, None],
      problems.answer_mask[:, None],
      stop_tokens=stop_tokens,
  )
  # An answer that is missing is wrong, a completion that is missing unknown.
  return reward._replace(valid=jnp.any(rollouts.mask, axis=-1))


class HostVerdicts(NamedTuple):
  """Rewards `[A, S, B, G]`, and the share of each status, `[A, S]`."""

  reward: Reward
  metrics: dict[str, np.ndarray]


class HostVerifier:
  """A text verifier over rollouts; use it in a `with` block."""

  def __init__(self, name: str, options: mlc.ConfigDict, task: Task):
    make = choose("verifier.name", VERIFIERS, name)
    self._task, self._reads_all = task, name in WHOLE
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
    said = decode(rollouts.tokens, rollouts.mask)
    found = self._pool(
        repeat(decode(problems.prompts, problems.prompt_mask)),
        said if self._reads_all else list(map(self._task.answer_in, said)),
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


def number_ids(task: Task, rollouts: Rollouts) -> np.ndarray:
  """Equal ids for answers that are the same number, -1 where none is read."""
  tokens, mask = jax.device_get((rollouts.tokens, rollouts.mask))
  seen, ids = {}, []
  for said in task.tokenizer.decode_batch(tokens, mask):
    try:
      value = parsing.read_answer(task.answer_in(said)).value
      ids.append(seen.setdefault(value, len(seen)))
    except parsing.Unreadable:
      ids.append(-1)
  return np.array(ids, np.int32).reshape(tokens.shape[:-1])


def text_verifiers(config) -> set[str]:
  """The names of those that an arm needs."""
  names = {config.verifier.name, config.verifier.trusted}
  form = {"form"} if config.beside.form.weight else set()
  return (names | form) - {"tokens"}


@contextlib.contextmanager
def host_verifiers(
    arms: Iterable[mlc.FrozenConfigDict], task: Task
) -> Iterator[dict[str, HostVerifier]]:
  """The text verifiers that any arm names; their workers end with the block."""
  with contextlib.ExitStack() as stack:
    found = {}
    for arm in arms:
      for name in sorted(text_verifiers(arm)):
        if name not in found:
          verifier = HostVerifier(name, arm.verifier, task)
          found[name] = stack.enter_context(verifier)
    yield found
