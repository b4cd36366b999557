"""Problems that a teacher of `experiments.rlvr` writes, on tokens.

    3+4 = 7 <end>      a problem, `config.teacher.separator`, its answer

is what a teacher says; a student is asked the problem as it is asked those of
the data. A text of another form is no problem: it is marked invalid, and
counted. Axes: T tokens of a text, P of a prompt, L of an answer.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
from jaxtyping import Array, Bool

from experiments import tasks
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems, Task
from rewardjax.data import loader, tokenizers
from rewardjax.rewards import marks
from rewardjax.rewards.verifiers import tokens as token_verifiers
from rewardjax.types import Rollouts

# Stands for a problem while its surroundings are read; in no template.
_HOLE = "\ue000"


class Form(NamedTuple):
  """How texts become problems; token ids, nothing is traced.

  asked: what the teacher reads before it writes.
  before, after: what a student reads around a problem.
  separator: what the teacher puts between problem and answer.
  special: ids that stand for no text.
  end: what ends an answer.
  """

  asked: tuple[int, ...]
  before: tuple[int, ...]
  after: tuple[int, ...]
  separator: tuple[int, ...]
  special: tuple[int, ...]
  end: int


class Written(NamedTuple):
  """Texts read as problems; those that are none must not be learned from.

  parsed: True where a text has the form.
  valid: where it is no problem that gains are measured on, too.
  """

  problems: Problems
  parsed: Bool[Any, "*batch n"]
  valid: Bool[Any, "*batch n"]


def make_form(config, task: Task) -> Form:
  """The form of the task's problems."""
  o, tokenizer = config.teacher, task.tokenizer
  asked = o.prompt
  if asked and config.task.chat:
    asked = tasks.chat_text(
        tokenizer, asked, system=config.task.system, suffix=""
    )
  before, _, after = task.ask(_HOLE).partition(_HOLE)
  read = lambda text: tuple(tokenizer.encode(text, **task.reading))
  separator = tuple(tokenizer.encode(o.separator))
  start = tokenizer.eos if tokenizer.bos is None else tokenizer.bos
  special = {tokenizer.pad, start, *tokenizer.stop_tokens}
  return Form(
      read(asked) or (start,),
      read(before),
      (*separator * o.keeps_separator, *read(after)),
      separator,
      tuple(sorted(special)),
      tokenizer.eos,
  )


def writer(setup: Setup) -> Setup:
  """The setup under which the policy writes instead of answering."""

  def change(config):
    o = config.teacher
    changed = mlc.ConfigDict(config.to_dict())
    changed.update(
        dict(
            task=dict(answer_length=o.length, answer_mark=""),
            sampling=dict(
                group_size=o.students,
                temperature=o.temperature,
                top_k=0,
                top_p=1.0,
                parts=1,
                lanes=0,
            ),
            optimizer=dict(learning_rate=o.learning_rate),
            warm_up=o.warm_up.to_dict(),
        )
    )
    return mlc.FrozenConfigDict(changed)

  arms = {name: change(config) for name, config in setup.arms.items()}
  return setup._replace(arms=arms, mark=(), separator=())


def request(form: Form, num_texts: int) -> Problems:
  """What the teacher is asked, as prompts without an answer."""
  prompts = jnp.broadcast_to(
      jnp.asarray(form.asked, jnp.int32), (num_texts, len(form.asked))
  )
  nothing = jnp.zeros((num_texts, 1), jnp.int32)
  return Problems(
      prompts,
      jnp.ones(prompts.shape, bool),
      nothing,
      nothing > 0,
      nothing[:, 0],
  )


def parse(
    form: Form,
    rollouts: Rollouts,
    hard: Problems,
    *,
    stop_tokens: tuple[int, ...],
    prompt_length: int,
    answer_length: int,
) -> Written:
  """Reads the K texts of each of n requests; pure.

  A text is a problem if it was ended, holds a separator (the last one counts)
  with text and nothing but text on both sides, and fits.

  Args:
    form: of the task.
    rollouts: `[n, K, T]`, by the teacher.
    hard: problems that a set must not hold.
    stop_tokens: that end a text (static).
    prompt_length: P, tokens of a student's prompt (static).
    answer_length: L, tokens of an answer and its end (static).

  Returns:
    K sets of n; prompts and answers of what is not parsed are arbitrary.
  """
  tokens = rollouts.tokens
  parts = marks.split(
      tokens,
      rollouts.mask,
      mark=form.separator,
      stop_tokens=stop_tokens,
  )
  place = jnp.arange(tokens.shape[-1])[None, None]
  said = jnp.sum(parts.working, -1) - len(form.separator)
  problem = parts.working & (place < said[..., None])
  prompts, asked = _join(form.before, tokens, problem, form.after)
  answers, answered = _join((), tokens, parts.answer, (form.end,))
  strange = token_verifiers.is_stop(tokens, form.special)
  parsed = (
      ~rollouts.truncated
      & jnp.any(problem, -1)
      & jnp.any(parts.answer, -1)
      & ~jnp.any(strange & (problem | parts.answer), -1)
      & (jnp.sum(asked, -1) <= prompt_length)
      & (jnp.sum(answered, -1) <= answer_length)
  )
  # Who is asked nothing must read something all the same.
  prompts, asked = _cut(prompts, asked, prompt_length, left=True)
  asked = asked.at[..., -1].set(True)
  answers, answered = _cut(answers, answered, answer_length, left=False)
  found = Problems(
      prompts,
      asked,
      answers,
      answered & parsed[..., None],
      jnp.zeros(parsed.shape, jnp.int32),
  )
  by_set = lambda x: jnp.swapaxes(x, 0, 1)
  found, parsed = jax.tree.map(by_set, (found, parsed))
  return Written(found, parsed, parsed & ~_is_one_of(found, hard))


def _join(before, tokens, mask, after):
  """Fixed ids around the tokens that `mask` marks."""
  ends = [
      jnp.broadcast_to(
          jnp.asarray(ids, tokens.dtype), (*tokens.shape[:-1], len(ids))
      )
      for ids in (before, after)
  ]
  real = [jnp.ones(x.shape, bool) for x in ends]
  return (
      jnp.concatenate([ends[0], tokens, ends[1]], axis=-1),
      jnp.concatenate([real[0], mask, real[1]], axis=-1),
  )


def _cut(tokens, mask, length, *, left):
  """Real tokens in their order, `length` of them at most, padded on a side."""
  if left:
    flip = lambda x: x[..., ::-1]
    found = _cut(flip(tokens), flip(mask), length, left=False)
    return tuple(map(flip, found))
  room = [(0, 0)] * (tokens.ndim - 1) + [(0, max(0, length - mask.shape[-1]))]
  moved = marks.align(jnp.pad(tokens, room), jnp.pad(mask, room))
  return tuple(x[..., :length] for x in moved)


def _is_one_of(
    problems: Problems, hard: Problems
) -> Bool[Array, "K n"]:
  """Whether a prompt is one of `hard`, token by token."""
  at = lambda x: x[:, :, None]
  other = hard.prompt_mask[None, None]
  equal = at(problems.prompts) == hard.prompts[None, None]
  same = (at(problems.prompt_mask) == other) & (equal | ~other)
  return jnp.any(jnp.all(same, -1), -1)


def rows_of(task: Task, names: tuple[str, ...], *, others: bool = False):
  """Rows to train on of some kinds, or of the others; all without names."""
  if not names:
    return task.train
  wanted = {task.kinds.index(name) for name in names}
  rows = (task.train[i] for i in range(len(task.train)))
  return [x for x in rows if (int(x.get("kind", 0)) in wanted) != others]


def batches(
    config, form: Form, task: Task, *, seed: int, num_seeds: int
) -> loader.Loader:
  """Endless problems of the data as a teacher would write them, `[S, B, ...]`.

  Of kinds that no gain is measured on, where there are some. Each of several
  processes gets its own block of the B.
  """
  o = config.teacher
  rows = rows_of(task, tuple(o.hard_kinds), others=True) or task.train
  local = o.warm_up.batch_size // jax.process_count()
  mine = slice(jax.process_index() * local, (jax.process_index() + 1) * local)

  def collate(rows):
    columns = loader.collate(rows)
    texts = zip(columns["prompt"], columns["answer"])
    made = [text_ids(form, task, o, *text) for text in texts]
    asked = np.tile(np.array(form.asked, np.int32), (len(made), 1))
    found = Problems(
        asked,
        np.ones(asked.shape, bool),
        *tokenizers.pad_rows(made, o.length, task.tokenizer.pad, left=False),
        np.zeros(len(made), np.int32),
    )
    split = lambda x: x.reshape(num_seeds, -1, *x.shape[1:])[:, mine]
    return jax.tree.map(split, found)

  size = num_seeds * o.warm_up.batch_size
  return loader.Loader(rows, batch_size=size, seed=seed, collate_fn=collate)


def text_ids(
    form: Form, task: Task, options, prompt: str, answer: str
) -> list[int]:
  """What a teacher says to pose a problem of the data.

  Raises:
    ValueError: naming the field, if it cannot be said so.
  """
  separator, encode = options.separator, task.tokenizer.encode
  if options.keeps_separator and not prompt.endswith(separator):
    raise ValueError(
        f"config.teacher.separator {separator!r} does not end the problem "
        f"{prompt[:80]!r}; with keeps_separator=False it need not."
    )
  if options.keeps_separator:
    prompt = prompt.removesuffix(separator)
  ids = [*encode(prompt), *form.separator, *encode(answer), form.end]
  if len(ids) > options.length:
    raise ValueError(
        f"{len(ids)} tokens do not fit into config.teacher.length = "
        f"{options.length}: {prompt[:80]!r}."
    )
  return ids
