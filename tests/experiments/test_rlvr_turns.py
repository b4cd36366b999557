"""Episodes of several turns in the main job: read whole, learned in part."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.rlvr import base
from experiments import (
    rlvr_config,
    rlvr_evaluation,
    rlvr_halves,
    rlvr_learner,
    rlvr_policy,
    rlvr_programs,
    rlvr_recipes,
    rlvr_sampling,
    rlvr_turns,
    tasks,
    warm_up,
    worlds,
)
from rewardjax.advantages import running
from rewardjax.data.tokenizers import CharTokenizer
from rewardjax.environments.quests import Sizes
from rewardjax.models import transformer
from rewardjax.recipes import actor_critic, policy_gradient, turns
from rewardjax.shaping import turns as turn_rewards
from tests.experiments import killed_runs
from tests.experiments.rlvr_runs import rows_of, run

SIZES = Sizes(width=2, objects=2, length=2)
TOKENIZER = CharTokenizer(worlds.symbols(SIZES))
K = 6
B, G, T = 2, 3, 3 * K
MODEL = transformer.Transformer(
    TOKENIZER.vocab_size, width=8, num_layers=1, num_heads=2, mlp_width=16
)


def quest_config(**changes):
  config = base.get_config("tiny")
  config.task.update(
      dict(
          name="quests",
          kinds=("quest",),
          tokenizer="byte",
          quests=SIZES._asdict(),
          turns=K,
          prompt_length=4,
          answer_length=T,
      )
  )
  config.sampling.update(dict(batch_size=B, group_size=G))
  config.update(changes)
  return config


def setup_of(**changes):
  arms = rlvr_config.arm_configs(quest_config(**changes))
  return rlvr_policy.make_setup(arms, MODEL, TOKENIZER, None)


@functools.cache
def problems():
  """Two quests, as an alphabet of the world's symbols writes them."""
  rows = worlds.quest_rows(SIZES, seed=0, num_rows=B, num_turns=K)
  setup = setup_of()
  prompts = TOKENIZER.encode_prompts([row["prompt"] for row in rows], 4)
  shown = setup.world.encode(np.stack([row["episode"] for row in rows]))
  start = np.stack([row["start"] for row in rows])
  found = tasks.Problems(
      *prompts, *shown[:2], np.zeros(B, np.int32), shown[2], start
  )
  return jax.tree.map(jnp.asarray, found)


@functools.cache
def params_of():
  """Of a policy that likes to act, with a critic that says something."""
  made = rlvr_learner.init(
      setup_of(recipe=dict(name="ppo")), jnp.array(0), jax.random.key(1),
      rlvr_policy.init_policy(setup_of(), jax.random.key(0)),
  ).train.params  # fmt: skip
  key = jax.random.key(2)
  noise = lambda x: x + 0.3 * jax.random.normal(key, x.shape)
  return made | {"value": jax.tree.map(noise, made["value"])}


@functools.cache
def episodes():
  """Samples whose actions are known: the expert's, and its mistakes."""
  shown = rlvr_policy.reference_rollouts(problems())
  spread = lambda x: jnp.broadcast_to(x, (B, G, *x.shape[2:]))
  step = jax.jit(jax.vmap(jax.vmap(setup_of().world.responder().step,
                                   (None, 0, 0)), (None, 0, 0)))  # fmt: skip
  see = jax.jit(jax.vmap(jax.vmap(setup_of().world.responder().observe)))
  over = jax.jit(jax.vmap(jax.vmap(setup_of().world.responder().is_done)))
  actions = np.array(spread(shown.tokens))[..., ::3]
  actions[0, 1] = 4  # takes what is not there
  actions[1, 2, 1:] = actions[1, 2, :-1]  # does everything once more
  world = jax.tree.map(
      lambda x: jnp.repeat(x[:, None], G, axis=1),
      setup_of().world.states(problems().start),
  )
  tokens, alive = [], []
  for k in range(K):
    alive.append(np.array(~over(world)))
    token = jnp.asarray(actions[..., k])
    after = step(jax.random.key(0), world, token)
    world = after  # a quest that is done stays done
    tokens.append(np.concatenate([token[..., None], see(world)], axis=-1))
  real = np.repeat(np.stack(alive, -1), 3, axis=-1)
  tokens = np.where(real, np.concatenate(tokens, -1), TOKENIZER.pad)
  own = real & (np.arange(T) % 3 == 0)
  rng = np.random.default_rng(0)
  made = shown._replace(
      tokens=jnp.asarray(tokens), mask=jnp.asarray(own), real=jnp.asarray(real),
      truncated=~over(world),
      log_probs=jnp.zeros((B, G, T)),
  )  # fmt: skip
  scores = jax.jit(
      lambda p: rlvr_policy.score(setup_of(), p, made).log_probs
  )(params_of())
  noise = jnp.asarray(0.1 * rng.normal(size=scores.shape), jnp.float32)
  return made._replace(log_probs=jnp.where(own, scores + noise, 0.0))


def plain_log_probs(params, rollouts):
  """Of every token that exists, by one forward pass of each whole row."""
  join = lambda stem, tips: jnp.concatenate(
      [jnp.repeat(stem[:, None], G, axis=1), tips], axis=-1
  ).reshape(B * G, -1)
  tokens = join(rollouts.prompts, rollouts.tokens)
  mask = join(rollouts.prompt_mask, rollouts.real)
  hidden = transformer.features(MODEL, params["policy"], tokens, mask)
  logits = transformer.logits(MODEL, params["policy"], hidden)
  found = jax.nn.log_softmax(logits)[:, :-1]
  found = jnp.take_along_axis(found, tokens[:, 1:, None], axis=-1)[..., 0]
  return found[:, -T:].reshape(B, G, T)


@pytest.mark.parametrize("lanes", [0, 2])
def test_recorded_log_probs_are_the_scorers(lanes):
  """Through a cache and in one pass, packed or not; nothing elsewhere."""
  setup = setup_of(sampling=dict(lanes=lanes, group_size=G))
  asked = problems()

  @jax.jit
  def draw(key, params):
    made = rlvr_sampling.sample(setup, key, params, asked)
    plain = plain_log_probs(params, made)
    return made, rlvr_policy.score(setup, params, made), plain

  made, scores, plain = draw(jax.random.key(5), params_of())
  own, real = np.asarray(made.mask), np.asarray(made.real)
  assert 0 < own.sum() and real.sum() == 3 * own.sum()
  np.testing.assert_allclose(scores.log_probs, made.log_probs, atol=2e-6)
  np.testing.assert_allclose(
      made.log_probs[own], plain[own], atol=2e-6
  )
  for x in scores:
    np.testing.assert_array_equal(x[~own], 0.0)
  assert np.ptp(made.log_probs[own]) > 0.1


def test_packed_episodes_score_as_they_do_alone():
  """Some end early: there is room for three in two rows."""
  made = episodes()
  lengths = np.sum(made.real, axis=-1)
  assert np.any(np.sort(lengths, axis=-1)[:, :2].sum(-1) <= T)
  score = lambda lanes: jax.jit(
      lambda p: rlvr_policy.score(
          setup_of(sampling=dict(lanes=lanes, group_size=G)), p, made
      ).log_probs
  )(params_of())
  np.testing.assert_allclose(score(2), score(0), atol=2e-6)


def test_the_world_judges():
  verdict, gained = jax.jit(
      lambda made: rlvr_turns.judge(setup_of(), problems(), made)
  )(episodes())
  success = ~np.asarray(episodes().truncated)
  np.testing.assert_array_equal(verdict.value, success)
  assert np.all(verdict.valid) and success[0, 0] and not success[0, 1]
  np.testing.assert_array_equal(gained.valid, episodes().mask[..., ::3])
  np.testing.assert_array_equal(
      np.sum(gained.value, axis=-1) == SIZES.length, success
  )
  found = rlvr_turns.metrics(gained)
  np.testing.assert_allclose(
      found["turns"], np.mean(np.sum(episodes().mask, axis=-1))
  )


def by_hand(name, dense, params, rollouts, verdict, gained):
  """The loss of `recipes`, from a plain forward pass."""
  log_probs = plain_log_probs(params, rollouts)
  took_place = rollouts.mask[..., ::3]
  most = jnp.full((B, G), float(SIZES.length))
  success = verdict.value > 0
  paid = turn_rewards.sparse_turn_reward(success, took_place)
  if dense:
    paid = turn_rewards.dense_turn_reward(
        gained.value, success, most, took_place
    )
  ids = jnp.broadcast_to(jnp.arange(T) // 3, (B, G, T))
  if name == "ppo":
    hidden = transformer.completion_features(
        MODEL, params["policy"], *rollouts[:3], rollouts.real
    )
    head = setup_of(recipe=dict(name="ppo")).value_head
    values = head.apply({"params": params["value"]}, hidden, rollouts.mask)
    credit = turns.turn_gae_credit(
        paid, ids, rollouts.mask, jax.lax.stop_gradient(values)
    )
    return actor_critic.ppo(log_probs, rollouts, credit, values=values)[0]
  credit = turns.turn_group_credit(
      paid, ids, rollouts.mask, leave_one_out=name == "rloo"
  )
  recipe = getattr(policy_gradient, name)
  return recipe(log_probs, rollouts, credit)[0]


def job_loss(setup, params, rollouts, verdict, gained):
  """The loss of the main job, both halves."""
  values = rlvr_policy.score(setup, params, rollouts).values
  values = jax.lax.stop_gradient(values)
  scored = rlvr_recipes.Scored(values=values, gained=gained)
  seen = rlvr_programs.Seen(verdict, verdict)
  credit, _ = rlvr_halves.credit_of_arm(
      setup, jnp.array(0), rollouts, verdict, seen, scored,
      running.init_spread(),
  )  # fmt: skip
  experience = rlvr_learner.Experience(rollouts, credit, scored, None)
  loss_fn = rlvr_learner.make_loss_fn(setup, jnp.array(0))
  return loss_fn(params, experience, jax.random.key(0))[0]


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo"])
def test_the_loss_is_the_recipes_and_observations_carry_none(name, dense):
  """Value and gradient; and with the observations' numbers poisoned."""
  setup = setup_of(
      recipe=dict(name=name),
      shaping=dict(turns="dense" if dense else "sparse"),
  )
  verdict, gained = rlvr_turns.judge(setup, problems(), episodes())
  noise = jnp.where(episodes().mask, episodes().log_probs, jnp.nan)
  poisoned = episodes()._replace(log_probs=noise)
  whole = lambda params, made: by_hand(
      name, dense, params, made, verdict, gained
  ).value
  halves = lambda params, made: job_loss(
      setup, params, made, verdict, gained
  ).value
  expected = jax.jit(jax.value_and_grad(whole))(params_of(), episodes())
  halves = jax.jit(jax.value_and_grad(halves))
  actual, again = (halves(params_of(), x) for x in (episodes(), poisoned))
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-6)
  chex.assert_trees_all_equal(again, actual)
  largest = max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(actual[1]))
  assert largest > 1e-3


def test_a_warm_up_imitates_the_expert_but_no_observation():
  setup = setup_of()
  shown = rlvr_policy.reference_rollouts(problems())
  state = warm_up.init(setup, jax.random.key(0))
  step = jax.jit(warm_up.make_step(setup))
  _, metrics = step(state, problems())
  plain = jax.jit(
      lambda p: rlvr_policy.score(setup, p, shown).log_probs
  )(state.params)
  own = np.asarray(shown.mask)
  assert own.sum() * 3 == np.sum(shown.real)
  np.testing.assert_allclose(
      metrics["loss"], -np.mean(np.asarray(plain)[own]), rtol=1e-5
  )
  verdict, _ = rlvr_turns.judge(setup, problems(), shown)
  np.testing.assert_array_equal(verdict.value, 1.0)


def test_held_out_quests_are_played(monkeypatch):
  setup = setup_of()
  monkeypatch.setattr(
      rlvr_sampling, "answer", lambda *_: episodes()
  )
  found = rlvr_evaluation.make_success(setup, problems())(params_of())
  np.testing.assert_allclose(
      found["accuracy"], np.mean(~np.asarray(episodes().truncated))
  )


def test_rows_are_what_the_world_shows():
  task = tasks.make_task(quest_config(), None)
  row = task.train[0]
  assert (len(task.train), len(task.held_out)) == (64, 16)
  room, goals = row["start"][0], row["start"][1:]
  names = worlds.ROOMS
  assert row["prompt"] == names[goals[1]] + names[room] + names[goals[0]]
  batch = next(task.batches(seed=0, num_seeds=2, batch_size=4))
  assert batch.start.shape == (2, 4, 3) and batch.answers.shape == (2, 4, T)
  said = task.tokenizer.decode_batch(batch.answers, batch.answer_real)
  own = task.tokenizer.decode_batch(batch.answers, batch.answer_mask)
  assert all(set(x) <= set(worlds.ACTIONS) and x[-1] == "t" for x in own)
  assert all(x[::3] == y and x[-1] == worlds.DONE for x, y in zip(said, own))


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_killed(tmp_path):
  """In the warm-up, and between two steps of reinforcement."""
  config = quest_config(
      num_steps=2,
      log_every=1,
      checkpoint_every=1,
      recipe=dict(name="ppo"),
      shaping=dict(turns="dense"),
      warm_up=dict(num_steps=2, batch_size=4),
      evaluation=dict(num_samples=2, pass_at=(2,)),
  )
  with killed_runs.resumed(tmp_path / "resumed") as stages:
    assert run(config, tmp_path / "whole", write=lambda *_, **__: 1) == 1
  assert stages == ["warm_up", "train"]
  rows = rows_of(tmp_path / "whole")
  assert [row["step"] for row in rows] == [0, 1, 2]
  for name in ("accuracy", "turns", "gained", "pass_at_2"):
    assert f"single/{name}" in rows[-1]
  assert all(np.all(np.isfinite(x)) for x in rows[-1].values())


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(task=dict(turns=5)), r"task\.turns must be in \[6, inf\], got 5"),
        (
            dict(task=dict(answer_length=12)),
            r"config\.task\.answer_length must be 18, .*task\.turns 6; got 12",
        ),
        (
            dict(task=dict(quests=dict(length=3))),
            r"task\.quests\.length must be in \[1, 2\], got 3",
        ),
        (
            dict(task=dict(quests=dict(width=6))),
            r"task\.quests\.width must be in \[1, 5\], got 6",
        ),
        (
            dict(task=dict(kinds=("a", "b"))),
            r"config\.task\.kinds must hold one name .*\('a', 'b'\)",
        ),
        (
            dict(task=dict(name="arithmetic")),
            r"config\.task\.turns must be 0 unless config\.task\.name is one "
            r"of quests, got 6",
        ),
        (
            dict(verifier=dict(name="numeric")),
            r"config\.verifier\.name must be 'tokens' with config\.task\.name "
            r"'quests', got 'numeric'",
        ),
        (
            dict(sampling=dict(halvings=1)),
            r"config\.sampling\.halvings must be 0 with config\.task\.name",
        ),
        (
            dict(reward=dict(name="majority")),
            r"config\.reward\.name must be one of verifier, .*'majority'",
        ),
        (
            dict(shaping=dict(turns="all")),
            r"config\.shaping\.turns must be one of sparse, dense; got 'all'",
        ),
        (
            dict(shaping=dict(turns="dense"), correction=dict(name="forward")),
            r"config\.correction\.name must be 'none' with "
            r"config\.shaping\.turns 'dense', got 'forward'",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_wrong_values_name_their_field(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    rlvr_config.arm_configs(quest_config(**changes))
  assert "\n" not in str(error.value)


def test_one_turn_is_never_paid_early():
  config = base.get_config("tiny")
  config.shaping.turns = "dense"
  with pytest.raises(ValueError, match=r"config\.shaping\.turns must be 'spa"):
    rlvr_config.arm_configs(config)


def test_every_symbol_must_be_one_token():
  config = quest_config()
  config.task.tokenizer = "char"
  message = r"config\.task\.tokenizer 'char' cannot say 'n'"
  with pytest.raises(ValueError, match=message):
    tasks.make_task(config, None)
