"""A teacher in the main job: paid by gains, promoted by the rule, resumed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    export_policy,
    rlvr_agents,
    rlvr_learner,
    rlvr_policy,
    rlvr_teaching,
    rlvr_writing,
    tasks,
)
from rewardjax.advantages import group
from rewardjax.data import tokenizers
from rewardjax.training import teaching
from rewardjax.types import Rollouts
from tests.experiments import killed_runs
from tests.experiments.rlvr_runs import (
    TOKENS,
    pretrained_config,
    rows_of,
    run,
    small_config,
)

pytestmark = pytest.mark.xdist_group("teacher")
TEACHER = dict(
    name="soar", students=3, set_size=2, inner_steps=2, hard_size=4,
    threshold=0.0, warm_up=dict(num_steps=2, batch_size=8),
)  # fmt: skip
# Two sets with problems, one of which nothing parses.
SAID = (("1+0=1", "1+"), ("11", "+"), ("0+0=0", "3+0=3"))
HARD = [dict(prompt=f"{i}+{i}=", answer=str(2 * i)) for i in range(4)]


def config_of(**changes):
  changes = dict(
      num_steps=2,
      log_every=1,
      checkpoint_every=1,
      # Lies leave something to learn from to a policy that is never right.
      noise=dict(name="binary", false_positive=(0.4,), false_negative=(0.2,)),
      warm_up=dict(num_steps=0),
      teacher=TEACHER,
      optimizer=dict(learning_rate=0.05),
      arms=dict(arm=dict()),
  ) | changes
  return small_config(**changes)


def written(tokenizer, length):
  """Rollouts `[n, K, T]` of `SAID`, which `rlvr_teaching.write` would draw."""
  rows = [[*tokenizer.encode(text), tokenizer.eos] for said in SAID
          for text in said]  # fmt: skip
  tokens, mask = tokenizers.pad_rows(rows, length, 0, left=False)
  by_text = lambda x: jnp.asarray(x).reshape(3, 2, length).swapaxes(0, 1)
  prompts = jnp.full((2, 1), tokenizer.bos, jnp.int32)
  return Rollouts(
      prompts,
      jnp.ones((2, 1), bool),
      by_text(tokens),
      by_text(mask),
      jnp.zeros((2, 3, length)),
      jnp.zeros((2, 3), bool),
  )


@pytest.fixture(scope="module")
def bed():
  """One agent, its teacher, and one step on the sets of `SAID`."""
  config = config_of()
  tokenizer = tasks.make_tokenizer(config)
  setup = rlvr_agents.make_groups(config, tokenizer).setups["train"]
  plain = tasks.Task(HARD, HARD, ("add",), tokenizer, 6, 4, lambda x: x, {})
  form = rlvr_writing.make_form(setup.config, plain)
  hard = jax.tree.map(jnp.asarray, plain.encode(HARD))
  rollouts = written(tokenizer, setup.config.teacher.length)

  def start(key):
    params = rlvr_policy.init_policy(setup, key)
    agent = rlvr_learner.init(setup, jnp.int32(0), key, params)
    return rlvr_teaching.init(setup, agent, params)

  state = jax.jit(start)(jax.random.key(1))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rlvr_teaching, "write", lambda *args: rollouts)
    after, metrics = jax.jit(rlvr_teaching.make_step(setup, form))(state, hard)
  sets = rlvr_teaching.read(setup, form, rollouts, hard)
  return setup, hard, rollouts, sets, state, after, metrics


def test_the_reward_is_what_students_gain(bed):
  """One student after the other, inner step by inner step."""
  setup, hard, _, sets, state, after, metrics = bed
  # "0+0=" is a hard problem: it is not taught.
  np.testing.assert_array_equal(
      sets.valid, [[True, False], [False, False], [False, True]]
  )
  step = jax.jit(rlvr_teaching.make_inner(setup))
  measure = jax.jit(rlvr_teaching.make_measure(setup, hard))
  first, key = state.promotion.student, rlvr_teaching.step_keys(state)["teach"]
  learn_key, measure_key = jax.random.split(jax.random.split(key, 1)[0])
  rewards, students = [], []
  for i in range(3):
    student = first
    for inner in jax.random.split(learn_key, 2):
      student = step(inner, student, jax.tree.map(lambda x: x[i], sets))  # noqa: B023
    gain = measure(measure_key, student) - measure(measure_key, first)
    rewards.append(gain)
    students.append(student)
  assert rewards[1] == 0 and rewards[0] != 0 and rewards[2] != 0
  # Nothing of the second set parses.
  chex.assert_trees_all_equal(students[1].train, first.train)
  rewards = jnp.stack(rewards)
  tolerance = dict(rtol=1e-3, atol=1e-7)
  np.testing.assert_allclose(
      metrics["teacher/gain"], jnp.mean(rewards), **tolerance
  )
  np.testing.assert_allclose(
      metrics["teacher/best_gain"], jnp.max(rewards), **tolerance
  )
  np.testing.assert_allclose(
      metrics["teacher/hard_success"], measure(None, first), rtol=1e-5
  )
  # And the rule of promotion, called by hand.
  found = teaching.Taught(
      rewards, jax.tree.map(lambda *x: jnp.stack(x), *students)
  )
  promotion, promoted = teaching.promote(
      state.promotion, found, threshold=0.0, decay=0.5
  )
  assert bool(promoted) == metrics["teacher/promoted"]
  params = lambda x: x.student.train.params
  chex.assert_trees_all_close(
      params(promotion), params(after.promotion), rtol=1e-4, atol=1e-6
  )
  assert promotion.promotions == after.promotion.promotions
  chosen = jax.tree.map(lambda x: x[jnp.argmax(rewards)], sets)
  kept = chosen if promoted else state.kept
  chex.assert_trees_all_equal(after.kept, kept)


def test_what_does_not_parse_is_counted(bed):
  metrics = bed[-1]
  assert metrics["teacher/unparsable"] == 3
  np.testing.assert_allclose(metrics["teacher/parsed"], 1 / 2)
  np.testing.assert_allclose(metrics["teacher/leaked"], 1 / 6)


def test_a_set_without_problems_is_no_baseline_of_the_others(bed):
  setup, _, rollouts, sets, state, _, _ = bed
  rewards = jnp.array([0.3, 9.0, 0.1])
  known = jnp.any(sets.valid, -1)
  found = rlvr_teaching.advantages_of(setup.config, rewards, known)
  np.testing.assert_allclose(found, [0.2, 0, -0.2], rtol=1e-6)
  np.testing.assert_allclose(found, group.leave_one_out(rewards, known))


def test_the_teacher_says_more_of_what_paid(bed):
  """And nothing changes where all sets have earned the same."""
  setup, _, rollouts, sets, state, _, _ = bed
  writer = rlvr_writing.writer(setup)
  update = jax.jit(
      lambda rewards: rlvr_teaching.update(
          setup, state.teacher, rollouts, sets, rewards, jax.random.key(0)
      )[0]
  )
  score = jax.jit(
      lambda params: jnp.sum(
          rlvr_policy.score(writer, params, rollouts).log_probs, -1
      )
  )
  learned = update(jnp.array([0.1, 0.0, -0.1]))
  rise = score(learned.params) - score(state.teacher.params)
  assert rise[0, 0] > 0 > rise[1, 2]
  chex.assert_trees_all_equal(update(jnp.full(3, 0.1)), state.teacher)


def nudged(setup):
  """Students that learn by one addition: all that a loop has to keep."""

  def step(key, student, written):
    size = 0.01 * jax.random.normal(key) * jnp.mean(written.problems.prompts)
    train = student.train
    params = jax.tree.map(lambda x: x + size, train.params)
    return student._replace(train=train._replace(params=params))

  return step


def test_killed_and_resumed_it_ends_bit_for_bit(
    tmp_path, data_dir, monkeypatch
):
  """Pain 34: teacher, moments, average, kept set, keys."""
  whole = tmp_path / "whole"
  monkeypatch.setattr(rlvr_teaching, "make_inner", nudged)
  with killed_runs.resumed(tmp_path / "resumed") as stages:
    run(config_of(agents="scan"), whole, data_dir)
  assert stages == ["train_writing", "train"]
  rows = rows_of(whole)
  assert [row["step"] for row in rows] == [0, 1, 2]
  assert len(rows_of(whole, "train_writing")) == 2
  for name in ("gain", "best_gain", "parsed", "entropy", "hard_success"):
    assert np.all(np.isfinite(rows[-1][f"arm/teacher/{name}"]))
  assert rows[-1]["arm/teacher/unparsable"] == [
      round((1 - share) * 6) for share in rows[-1]["arm/teacher/parsed"]
  ]
  # A checkpoint is described without the run, and exported from.
  said = export_policy.export(whole, tmp_path / "folder", seed=1)
  assert "arm arm, seed 1, step 2" in said


@pytest.mark.slow
def test_adapters_teach_adapters(checkpoint, data_dir, tmp_path):
  """A pretrained model, asked in its chat template; frozen weights stay."""
  options = dict(TOKENS)
  config = pretrained_config(
      checkpoint,
      **options,
      teacher=dict(
          name="soar", prompt="Pose.", students=2, set_size=2, inner_steps=1,
          hard_size=2, length=8, warm_up=dict(num_steps=1, batch_size=4),
      ),
  )  # fmt: skip
  run(config, tmp_path, data_dir)
  rows = rows_of(tmp_path)
  assert [row["step"] for row in rows] == [0, 1, 2]
  assert np.all(np.isfinite(rows[-1]["arm/teacher/gain"]))
  manifest = tmp_path / "checkpoints/train/step_00000002/manifest/metadata"
  assert "embedding" not in manifest.read_text()
