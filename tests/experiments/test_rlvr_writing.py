"""Texts of a teacher, read as problems on tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.rlvr import base
from experiments import rlvr_config, rlvr_writing, tasks
from rewardjax.data import tokenizers
from rewardjax.types import Rollouts

CHARS = tokenizers.CharTokenizer("0123456789+-*/=().")
ROWS = [
    dict(prompt="1+2=", answer="3", kind=0),
    dict(prompt="3-5=", answer="-2", kind=1),
    dict(prompt="2+2=", answer="4", kind=0),
]
LENGTH = 12
QUESTS = dict(
    name="quests", kinds=("quest",), tokenizer="byte", turns=6, answer_length=18
)


def task_of(ask=lambda text: text):
  return tasks.Task(ROWS, ROWS, ("add", "subtract"), CHARS, 6, 4, ask, {})


def config_of(**teacher):
  config = base.get_config("tiny")
  config.task.kinds = ("add", "subtract")
  config.teacher.update(dict(name="soar", **teacher))
  return next(iter(rlvr_config.arm_configs(config).values()))


def texts(*rows, end=True):
  """Rollouts `[1, K, T]` of these token ids."""
  rows = [[*row, CHARS.eos] if end else list(row) for row in rows]
  tokens, mask = tokenizers.pad_rows(rows, LENGTH, 0, left=False)
  ended = [CHARS.eos in row for row in rows]
  prompt = np.full((1, 1), CHARS.bos, np.int32)
  return Rollouts(
      jnp.asarray(prompt),
      jnp.ones((1, 1), bool),
      jnp.asarray(tokens)[None],
      jnp.asarray(mask)[None],
      jnp.zeros(mask.shape)[None],
      ~jnp.array(ended)[None],
  )


def parse(form, rollouts, hard):
  read = lambda rollouts: rlvr_writing.parse(
      form,
      rollouts,
      jax.tree.map(jnp.asarray, hard),
      stop_tokens=CHARS.stop_tokens,
      prompt_length=6,
      answer_length=4,
  )
  return jax.jit(read)(rollouts)


def assert_same(found, i, expected, j):
  """One problem and a row of the data, but for what is masked."""
  for name in ("prompt", "answer"):
    mask_name = f"{name}_mask"
    mask = np.asarray(getattr(expected, mask_name))[j]
    np.testing.assert_array_equal(getattr(found, mask_name)[i, 0], mask)
    actual = np.asarray(getattr(found, f"{name}s"))[i, 0]
    np.testing.assert_array_equal(
        actual[mask], np.asarray(getattr(expected, f"{name}s"))[j][mask]
    )


def test_what_has_the_form_is_the_problem_of_the_data():
  task, config = task_of(), config_of()
  form = rlvr_writing.make_form(config, task)
  assert (form.asked, form.before) == ((CHARS.bos,), ())
  ids = [
      rlvr_writing.text_ids(form, task, config.teacher, *list(row.values())[:2])
      for row in ROWS
  ]
  rollouts = texts(*ids, end=False)
  encoded = task.encode(ROWS)
  found = parse(form, rollouts, task.encode(ROWS[2:]))
  for i in range(3):
    assert_same(found.problems, i, encoded, i)
  np.testing.assert_array_equal(found.parsed[:, 0], [True] * 3)
  # The last one is a problem that gains are measured on.
  np.testing.assert_array_equal(found.valid[:, 0], [True, True, False])


@pytest.mark.parametrize(
    "text",
    ["1+2", "=3", "1+2=", "", "1+2+3+4=9", "1+2=1234"],
    ids=["no separator", "no problem", "no answer", "nothing", "long", "wide"],
)
def test_what_has_not_is_no_problem(text):
  form = rlvr_writing.make_form(config_of(), task_of())
  found = parse(form, texts(CHARS.encode(text)), task_of().encode(ROWS))
  assert not found.parsed[0, 0] and not found.valid[0, 0]
  assert not np.any(found.problems.answer_mask)
  assert np.all(found.problems.prompt_mask[..., -1])  # something is read


def test_ids_that_are_no_text_and_texts_without_an_end_are_no_problems():
  form = rlvr_writing.make_form(config_of(), task_of())
  hard = task_of().encode(ROWS)
  good = CHARS.encode("4+4=8")
  rows = (good, [CHARS.bos, *good], [*good, CHARS.pad])
  np.testing.assert_array_equal(
      parse(form, texts(*rows), hard).parsed[:, 0], [True, False, False]
  )
  assert not parse(form, texts(good, end=False), hard).parsed[0, 0]


def test_students_are_asked_as_the_task_asks():
  """The separator is between problem and answer, students need not see it."""
  task = task_of(ask=lambda text: f"({text})")
  rows = [dict(prompt="1+2", answer="3"), dict(prompt="7", answer="7")]
  config = config_of(separator="==", keeps_separator=False, prompt=".")
  form = rlvr_writing.make_form(config, task)
  assert form.asked == tuple(CHARS.encode("."))
  found = parse(
      form,
      texts(*map(CHARS.encode, ("1+2==3", "7==7", "1+2=3"))),
      task.encode(ROWS[:1]),
  )
  for i in range(2):
    assert_same(found.problems, i, task.encode(rows), i)
  np.testing.assert_array_equal(found.parsed[:, 0], [True, True, False])


def test_a_teacher_learns_to_write_from_kinds_that_are_not_hard():
  task = task_of()
  config = config_of(hard_kinds=("subtract",), warm_up=dict(batch_size=2))
  form = rlvr_writing.make_form(config, task)
  assert rlvr_writing.rows_of(task, ("subtract",)) == ROWS[1:2]
  batch = next(
      rlvr_writing.batches(config, form, task, seed=0, num_seeds=1)
  )
  said = CHARS.decode_batch(batch.answers[0], batch.answer_mask[0])
  assert sorted(said) == ["1+2=3", "2+2=4"]
  np.testing.assert_array_equal(batch.prompts, CHARS.bos)


def test_problems_that_cannot_be_said_name_the_field():
  task = task_of()
  say = lambda prompt, **teacher: rlvr_writing.text_ids(
      rlvr_writing.make_form(config_of(**teacher), task),
      task,
      config_of(**teacher).teacher,
      prompt,
      "3",
  )
  with pytest.raises(ValueError, match="teacher.separator '=' does not end"):
    say("1+2")
  with pytest.raises(ValueError, match=r"do not fit into config\.teacher\.len"):
    say("1+2=", length=5)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(teacher=dict(name="dump")), r"teacher\.name must be one of none"),
        (dict(teacher=dict(estimator="x")), r"config\.teacher\.estimator must"),
        (dict(teacher=dict(students=1)), r"teacher\.students must be in \[2"),
        (dict(teacher=dict(inner_steps=0)), r"teacher\.inner_steps must be in"),
        (dict(teacher=dict(decay=2.0)), r"teacher\.decay must be in"),
        (dict(teacher=dict(threshold=-1.0)), r"teacher\.threshold must be in"),
        (dict(teacher=dict(temperature=0.0)), r"teacher\.temperature must be"),
        (dict(teacher=dict(separator="")), r"teacher\.separator must not be"),
        (dict(teacher=dict(hard_kinds=("x",))), r"teacher\.hard_kinds must be"),
        (
            dict(teacher=dict(warm_up=dict(num_steps=3))),
            r"config\.log_every must divide config\.teacher\.warm_up",
        ),
        (dict(num_microbatches=4), r"config\.num_microbatches must divide con"),
        (dict(curriculum=dict(name="ucb")), r"curriculum\.name must be 'none'"),
        (dict(sampling=dict(max_refills=1)), r"sampling\.max_refills must be "),
        (dict(verifier=dict(name="numeric")), r"verifier\.name must be 'toke"),
        (dict(asynchronous=dict(lag=1)), r"asynchronous\.lag must be 0 with"),
        (dict(beside=dict(form=dict(weight=1.0))), r"beside\.form\.weight has"),
        (dict(task=QUESTS), r"config\.task\.turns must be 0 with config\.tea"),
        (
            dict(noise=dict(false_positive=(0.1, 0.2, 0.3))),
            r"config\.noise\.false_positive must hold one rate with",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_wrong_values_name_their_field(changes, message):
  config = base.get_config("tiny")
  config.teacher.update(dict(name="soar", set_size=6))
  config.update(changes)
  with pytest.raises(ValueError, match=message):
    rlvr_config.arm_configs(config)
