"""What the policy may be paid for, stage by stage, against plain loops."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from configs.rlvr import base, smollm2
from experiments import (
    rlvr_config,
    rlvr_curricula,
    rlvr_learner,
    rlvr_measures,
    rlvr_policy,
    rlvr_programs,
    rlvr_rewards,
    verifying,
)
from experiments.tasks import Problems
from rewardjax.models import transformer
from rewardjax.training import mesh as meshes
from rewardjax.training.state import init_state
from rewardjax.types import Reward, Rollouts

STOP, MARK = 5, 4
MODEL = transformer.Transformer(
    vocab_size=6, width=8, num_layers=1, num_heads=2, mlp_width=16
)


def config_of(**changes):
  config = base.get_config("tiny")
  config.update(changes)
  return next(iter(rlvr_config.arm_configs(config).values()))


def setup_of(mark=(MARK,), **changes):
  arms = {"arm": config_of(**changes)}
  return rlvr_policy.Setup(arms, MODEL, (STOP,), mark=mark)


def samples():
  """Two prompts, three samples each: marked, not marked, cut off."""
  pad = lambda rows, n: [row + [0] * (n - len(row)) for row in rows]
  said = [
      [[1, MARK, 2, STOP], [3, 3, STOP], [MARK, 2, MARK, 2]],
      [[2, MARK, 1, STOP], [MARK, 1, STOP], [MARK, 3, STOP]],
  ]
  mask = [[[1] * len(x) for x in group] for group in said]
  truncated = jnp.array([[False, False, True], [False, False, False]])
  tokens = jnp.array([pad(group, 4) for group in said])
  mask = jnp.array([pad(group, 4) for group in mask], bool)
  prompts = jnp.array([[0, 1], [2, 3]])
  prompt_mask = jnp.array([[False, True], [True, True]])
  answers = jnp.array([[2, STOP, 0], [1, 1, STOP]])
  answer_mask = jnp.array([[True, True, False], [True, True, True]])
  problems = Problems(
      prompts, prompt_mask, answers, answer_mask, jnp.array([0, 1])
  )
  zeros = jnp.zeros(tokens.shape)
  return problems, Rollouts(
      prompts, prompt_mask, tokens, mask, zeros, truncated
  )


@functools.cache
def params_of():
  made = jax.jit(MODEL.init)(jax.random.key(3), jnp.zeros((1, 2), int),
                             jnp.ones((1, 2), bool))  # fmt: skip
  return {"policy": jax.tree.map(lambda x: 1.5 * x, made["params"])}


@jax.jit
def next_log_probs(params, tokens, mask):
  """Of what may follow each token `[T, V]`, by one plain forward pass."""
  hidden = transformer.features(MODEL, params["policy"], tokens, mask)
  scores = transformer.logits(MODEL, params["policy"], hidden)[0]
  return jax.nn.log_softmax(scores)


def answer_log_probs(params, text, answer):
  """Of the answer after a text; what is padded behind them is not read."""
  said = np.array([*text, *answer] + [0] * 10)[None, :10]
  mask = np.arange(10)[None] < len(text) + len(answer)
  scores = next_log_probs(params, jnp.asarray(said), jnp.asarray(mask))
  scores = np.asarray(scores, np.float64)
  return [scores[len(text) - 1 + i, a] for i, a in enumerate(answer)]


@pytest.mark.parametrize("debias", [False, True])
def test_likelihood_of_the_reference_after_each_working(debias):
  """Not under the sampling law: its temperature is not the model's."""
  setup = setup_of(
      reward=dict(name="likelihood", debias=debias),
      sampling=dict(temperature=0.3),
  )
  problems, rollouts = samples()
  verdict = Reward(jnp.zeros((2, 3)), jnp.zeros((2, 3), bool))
  params = params_of()
  found = jax.jit(
      lambda *rows: rlvr_measures.measure(setup, params, *rows)
  )(problems, rollouts, verdict)
  # Without a mark all is working and the mark comes behind it.
  working = [
      [[1, MARK], [3, 3, MARK], [MARK, 2, MARK]],
      [[2, MARK], [MARK], [MARK]],
  ]
  expected = np.zeros((2, 3))
  for b, (prompt, answer) in enumerate(
      [([1], [2, STOP]), ([2, 3], [1, 1, STOP])]
  ):
    mean = lambda text: np.mean(np.exp(answer_log_probs(params, *text)))
    bare = mean((prompt + [MARK], answer))  # noqa: B023
    for g in range(3):
      value = mean((prompt + working[b][g], answer))
      expected[b, g] = max(value - bare, 0) if debias else value
  np.testing.assert_allclose(found.likelihood.value, expected, atol=2e-6)
  # Known though the verifier knows nothing.
  assert np.all(found.likelihood.valid) and found.votes is None
  assert np.ptp(expected) > 1e-3


def outcome(name, **changes):
  setup = setup_of(reward=dict(name=name), **changes)
  problems, rollouts = samples()
  verdict = verifying.match_tokens(problems, rollouts, (STOP,), (MARK,))
  found = rlvr_measures.measure(setup, None, problems, rollouts, verdict)
  key = jax.random.key(0)
  return rlvr_rewards.outcome(setup.config, key, found, rollouts)


@pytest.mark.parametrize(
    "name, expected",
    [
        # Group 0 says 2, nothing and (cut off) nothing; group 1 says 1, 1, 3.
        ("verifier", [[1, 0, 0], [0, 0, 0]]),
        ("majority", [[1, 0, 0], [1, 1, 0]]),
        ("format", [[1, 0, 0], [1, 1, 1]]),
        ("inverted", [[0, 1, 1], [1, 1, 1]]),
    ],
)
def test_sources_without_noise(name, expected):
  reward = outcome(name)
  np.testing.assert_array_equal(reward.value, expected)
  assert np.all(reward.valid)


def test_twins_are_judged_by_the_other_wording():
  """The majority of group 1 is 1, that of group 0 is 2: nobody agrees."""
  twins = dict(task=dict(rewording="swapped"))
  np.testing.assert_array_equal(outcome("twin", **twins).value, 0)
  problems, rollouts = samples()
  setup = setup_of(reward=dict(name="twin"), **twins)
  same = rollouts._replace(
      tokens=rollouts.tokens.at[0].set(rollouts.tokens[1]),
      mask=rollouts.mask.at[0].set(rollouts.mask[1]),
      truncated=jnp.zeros((2, 3), bool),
  )
  verdict = verifying.match_tokens(problems, same, (STOP,), (MARK,))
  found = rlvr_measures.measure(setup, None, problems, same, verdict)
  reward = rlvr_rewards.outcome(setup.config, jax.random.key(0), found, same)
  np.testing.assert_array_equal(reward.value, [[1, 1, 0]] * 2)


def seen_with(beside):
  observed = Reward(
      jnp.array([[1.0, 0.0, 0.0, 1.0]]),
      jnp.array([[True, True, True, False]]),
  )
  valid = jnp.array([[[True], [True], [False], [True]]])
  return rlvr_learner.Seen(observed, observed, Reward(beside, valid))


def group_rollouts():
  mask = jnp.ones((1, 4, 2), bool)
  prompts = jnp.ones((1, 2), int)
  return Rollouts(
      prompts, prompts > 0, mask.astype(int), mask, jnp.zeros(mask.shape),
      jnp.zeros((1, 4), bool),
  )  # fmt: skip


def total_of(gate="always", value=None, **changes):
  config = config_of(
      beside=dict(form=dict(weight=0.5, gate=gate, threshold=1.0)), **changes
  )
  seen = seen_with(jnp.array([[[0.2], [0.6], [jnp.nan], [1.0]]]))
  value = seen.observed.value if value is None else value
  reward = seen.observed._replace(value=value)
  return rlvr_rewards.total(reward, seen, group_rollouts(), config)


def test_gates_open_by_the_observed_outcome():
  """An unknown reward is the mean of its group, an unknown gate closes it."""
  corrected = jnp.array([[1.5, -0.5, -0.5, jnp.nan]])
  always = total_of("always", corrected)
  mean, outcome = np.mean([0.2, 0.6, 1.0]), np.mean([1.5, -0.5, -0.5])
  np.testing.assert_allclose(
      always.value,
      [[1.5 + 0.1, -0.5 + 0.3, -0.5 + mean / 2, outcome + 0.5]],
      rtol=1e-6,
  )
  reached = total_of("reached", corrected)
  np.testing.assert_allclose(
      reached.value[:, :3], [[1.6, -0.5, -0.5 + 0.05]], rtol=1e-6
  )
  missed = total_of("missed", corrected)
  np.testing.assert_allclose(
      missed.value[:, :3], [[1.5, -0.2, -0.5 + 0.15]], rtol=1e-6
  )
  np.testing.assert_array_equal(missed.valid, [[True, True, True, False]])


def test_normalized_rewards_are_gdpo():
  reward = total_of(
      shaping=dict(combine="normalized"), credit=dict(estimator="none")
  )
  standard = lambda x: (x - np.mean(x)) / (np.std(x, ddof=1) + 1e-6)
  advantages = np.zeros(4)
  advantages[:3] += standard(np.array([1.0, 0.0, 0.0]))
  advantages[[0, 1, 3]] += 0.5 * standard(np.array([0.2, 0.6, 1.0]))
  whitened = (advantages - advantages.mean()) / advantages.std(ddof=1)
  np.testing.assert_allclose(reward.value[0], whitened, rtol=1e-3)


def test_tiers_round_graded_outcomes_up():
  config = config_of(shaping=dict(tiers=2))
  graded = Reward(jnp.array([[0.0, 0.1, 0.5, 0.7]]), jnp.ones((1, 4), bool))
  seen = rlvr_learner.Seen(graded, graded)
  reward = rlvr_rewards.total(graded, seen, group_rollouts(), config)
  np.testing.assert_array_equal(reward.value, [[0.0, 0.5, 0.5, 1.0]])


def test_a_dropped_group_loses_what_stands_beside_it():
  seen = seen_with(jnp.ones((1, 4, 1)))
  batch = rlvr_learner.Batch(None, group_rollouts(), seen)
  dropped = rlvr_programs.drop_dead(batch, jnp.array([False])).seen
  assert not any(np.any(x.valid) for x in dropped)


@pytest.mark.parametrize(
    "changes",
    [
        dict(reward=dict(name="likelihood", debias=True)),
        dict(reward=dict(name="majority", votes="numbers")),
        dict(reward=dict(name="twin"), task=dict(rewording="Tell me: {}")),
        dict(verifier=dict(name="closeness"), shaping=dict(tiers=4)),
        dict(beside=dict(form=dict(weight=0.1, gate="missed"))),
        dict(curriculum=dict(name="stages", boundaries=(5,))),
    ],
    ids=lambda x: next(iter(x)),
)
def test_each_can_be_switched_on_for_smollm2(changes):
  config = smollm2.get_config("tiny")
  config.correction.update(dict(name="none", rates="noise"))
  config.update(changes)
  assert rlvr_config.arm_configs(config)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(reward=dict(name="judge")),
            r"config\.reward\.name must be one of verifier, majority, twin",
        ),
        (
            dict(reward=dict(votes="text")),
            r"config\.reward\.votes must be one of tokens, numbers",
        ),
        (
            dict(reward=dict(likelihood="log")),
            r"config\.reward\.likelihood must be one of log_prob, ",
        ),
        (
            dict(reward=dict(likelihood="log_prob", debias=True)),
            r"config\.reward\.debias needs a probability for config\.reward",
        ),
        (
            dict(reward=dict(name="likelihood"), noise=dict(name="binary")),
            r"config\.reward\.name 'likelihood' is no verdict: config\.noise",
        ),
        (
            dict(reward=dict(name="twin")),
            r"needs two wordings of each prompt: set config\.task\.rewording",
        ),
        (
            dict(
                reward=dict(name="twin"),
                task=dict(rewording="swapped"),
                sampling=dict(max_refills=1),
            ),
            r"config\.sampling\.max_refills must be 0 for config\.reward\.name",
        ),
        (
            dict(task=dict(rewording="What is it?")),
            r"config\.task\.rewording must be '', 'swapped' or a text with one",
        ),
        (
            dict(task=dict(rewording="swapped"), warm_up=dict(batch_size=3)),
            r"config\.warm_up\.batch_size must be even with config\.task\.rew",
        ),
        (
            dict(beside=dict(form=dict(gate="open"))),
            r"config\.beside\.form\.gate must be one of always, reached, miss",
        ),
        (
            dict(shaping=dict(combine="product")),
            r"config\.shaping\.combine must be one of sum, normalized",
        ),
        (
            dict(shaping=dict(combine="normalized")),
            r"config\.credit must have name 'group', estimator 'none'",
        ),
        (
            dict(shaping=dict(tiers=4), correction=dict(name="backward")),
            r"config\.shaping\.tiers = 4 would cut off what config\.correction",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_wrong_values_name_their_field(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    config_of(**changes)
  assert "\n" not in str(error.value)


def test_two_devices_find_what_one_does():
  """Choice, samples, likelihoods and pairs do not know where they lie."""
  kinds = dict(kinds=("add", "subtract"))
  setup = setup_of(
      reward=dict(name="likelihood"),
      beside=dict(majority=dict(weight=0.5)),
      curriculum=dict(name="ucb"),
      task=kinds | dict(answer_length=4),
  )
  problems, _ = samples()
  # Four places with two candidates each.
  problems = jax.tree.map(lambda x: jnp.concatenate([x] * 4), problems)
  train = init_state(params_of(), optax.sgd(0.1))
  agent = rlvr_learner.Agent(
      jnp.array(0), train, (), None, jax.random.key(1),
      rlvr_curricula.init(setup.config),
  )  # fmt: skip
  gather = jax.jit(rlvr_programs.make_gather(setup))
  one = gather(agent, problems)
  mesh = meshes.make_mesh(data=2, devices=jax.devices()[:2])
  rows = jax.device_put(problems, meshes.batch_sharding(mesh))
  agent = jax.device_put(agent, NamedSharding(mesh, PartitionSpec()))
  two = jax.jit(meshes.within(mesh, rlvr_programs.make_gather(setup)))(
      agent, rows
  )
  chex.assert_trees_all_close(two, one, rtol=1e-5, atol=1e-6)
  assert one.problems.kinds.shape == (4,)
  assert one.seen.beside.value.shape == (4, 4, 1)
