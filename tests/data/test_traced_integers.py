import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data.builders import preparation
from rewardjax.data.builders import traced_integers as builder
from rewardjax.data.traced_integers import TracedIntegers

CLEAN = TracedIntegers(seed=3)
replace = dataclasses.replace


def batch(generator, count=400):
  """The first samples, read by the host."""
  return jax.device_get(generator.batch(jnp.arange(count)))


def check(text):
  """Reads a row back, by another road: its lines and its answer."""
  trace, rest = text.split("=")
  assert rest.endswith(".")
  return trace.split(";")[:-1], rest[:-1]


def test_text_by_hand():
  row = TracedIntegers(length=4, seed=1)[0]
  inputs = [int(x) for x in row["prompt"].removesuffix(":")]
  state, lines = 0, []
  for x in inputs:
    state = (2 * state + x) % 5
    lines.append(f"{state};")
  assert row["completion"] == "".join(lines) + f"={state}."
  assert row["answer"] == str(state) and not row["noised"]


def test_redundant_lines_restate_inputs_and_state():
  row = replace(CLEAN, redundancy=2)[5]
  inputs = row["prompt"].removesuffix(":")
  before, found = "0", check(row["completion"])[0]
  plain = check(CLEAN[5]["completion"])[0]
  for line, state in zip(found, plain, strict=True):
    assert line == (inputs + before) * 2 + state
    before = state


NOISY = [
    dict(noise="dynamic"),
    dict(noise="static"),
    dict(noise="static", kind="delete"),
    dict(noise="static", kind="swap"),
]


@pytest.mark.parametrize("noise", NOISY, ids=str)
def test_rate_and_intensity_choose_samples_and_symbols(noise):
  clean = batch(CLEAN)
  none = batch(replace(CLEAN, **noise, rate=0.0, intensity=1.0))
  np.testing.assert_array_equal(none.tokens, clean.tokens)
  noisy = batch(replace(CLEAN, **noise, rate=0.3, intensity=0.5))
  np.testing.assert_array_equal(noisy.prompt, clean.prompt)
  np.testing.assert_array_equal(noisy.truth, clean.truth)
  changed = np.any(noisy.tokens != clean.tokens, axis=1)
  assert not np.any(changed & ~noisy.noised)
  assert np.sum(changed) > 60
  assert 83 < np.sum(noisy.noised) < 157  # 400 * .3, four sigma


@pytest.mark.parametrize("kind", ["replace", "delete", "swap"])
def test_static_noise_at_its_strongest_keeps_every_answer(kind):
  noisy = batch(replace(CLEAN, noise="static", kind=kind, intensity=1.0))
  np.testing.assert_array_equal(noisy.answer, noisy.truth)
  clean = batch(CLEAN)
  for i in range(50):
    real = noisy.tokens[i][noisy.mask[i]]
    # "=", the answer and the end are as they were.
    np.testing.assert_array_equal(real[-3:], clean.tokens[i, -3:])
  if kind == "delete":  # of five lines, five ends are left
    np.testing.assert_array_equal(np.sum(noisy.mask, 1), 5 + 3)
  else:
    assert np.all(noisy.mask)


def test_dynamic_noise_reaches_the_answer_at_the_rate_of_its_closed_form():
  noisy = batch(replace(CLEAN, noise="dynamic", intensity=0.2), 20_000)
  right = np.mean(np.all(noisy.answer == noisy.truth, axis=1))
  np.testing.assert_allclose(right, 0.4621, atol=0.015)
  # The trace and the answer agree: the last line is the answer.
  np.testing.assert_array_equal(noisy.tokens[:, -5], noisy.answer[:, 0])


def test_masks_tell_trace_noise_and_padding_apart():
  item = batch(replace(CLEAN, noise="static", intensity=0.4))
  ends = item.tokens == CLEAN.base
  assert np.all(np.sum(item.in_trace, 1) == 10)
  assert not np.any(item.replaced & ends)
  changed = item.tokens != batch(CLEAN).tokens
  assert np.all(item.replaced | ~changed)
  # Drawn anew with chance .4, to another symbol with chance .4 * 4 / 5.
  np.testing.assert_allclose(np.mean(changed[:, :10:2]), 0.32, atol=0.045)


def test_item_depends_on_seed_split_and_index_alone():
  rows = CLEAN.rows(0, 20)
  assert [CLEAN[i] for i in (7, 3)] == [rows[7], rows[3]]
  assert replace(CLEAN, seed=4).rows(0, 20) != rows
  assert replace(CLEAN, split="test").rows(0, 20) != rows
  assert CLEAN.rows(5, 5) == []


@pytest.mark.parametrize("program", ["sum", "product", "median", "sort"])
def test_every_program_writes_its_answer(program):
  row = TracedIntegers(program=program, length=4, base=10)[1]
  assert check(row["completion"])[1] == row["answer"]
  if program == "sum":
    assert int(row["answer"]) == sum(map(int, row["prompt"][:-1]))


def test_builder_noises_the_training_rows_only(tmp_path):
  traced = TracedIntegers(noise="dynamic", intensity=0.8)
  config = builder.Config(traced=traced, num_train=1100, num_test=40)
  made = preparation.prepare(builder.TracedIntegers, config, tmp_path)
  text = lambda row: {
      k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()
  }
  train = made.as_data_source(split="train")
  assert len(train) == 1100
  for i in (0, 1023, 1024, 1099):
    assert text(train[i]) == traced[i]
  right = lambda row: f"={row['answer']}." in row["completion"]
  test = made.as_data_source(split="test")
  assert all(right(text(test[i])) for i in range(40))
  assert sum(right(text(train[i])) for i in range(100)) < 60
  other = builder.Config(traced=replace(traced, intensity=0.7))
  assert other.name != config.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(program="power"), "program must be one of affine, sum"),
        (dict(noise="both"), "noise must be one of none, static, dynamic"),
        (dict(kind="drop"), "kind must be one of replace, delete, swap"),
        (dict(base=1), "base must be in"),
        (dict(rate=1.1), "rate must be in"),
        (dict(intensity=-0.1), "intensity must be in"),
        (dict(redundancy=-1), "redundancy must be in"),
    ],
)
def test_errors_name_the_field(change, message):
  with pytest.raises(ValueError, match=message):
    TracedIntegers(**change)
