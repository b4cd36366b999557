"""Whole steps with all that an agent may learn, resumed from a checkpoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    rlvr_appeals,
    rlvr_learner,
    rlvr_measures,
    rlvr_policy,
    rlvr_programs,
    rlvr_rewards,
    rlvr_sampling,
    rlvr_verdicts,
)
from rewardjax.advantages import running
from rewardjax.diagnostics import mass_balance
from rewardjax.policies.log_probs import TokenScores
from rewardjax.recipes import recommendation
from rewardjax.rewards import likelihood
from rewardjax.search import tries
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.types import Reward
from tests.experiments.test_rlvr_rewards import (
    STOP,
    params_of,
    samples,
    setup_of,
)

ITEMS = ([2, STOP], [1, 1, STOP], [3, STOP], [1, 3, STOP])


def steps_setup():
  """OPRL, RLPR's filter and BroRL's wide groups."""
  return setup_of(
      task=dict(answer_length=4),
      recipe=dict(name="oprl"),
      steps=dict(scorer="process", every=2),
      sampling=dict(group_size=4, parts=2, mass_balance=True),
      shaping=dict(spread=dict(factor=0.5, after=1)),
  )


def imitation_setup():
  """AMFT's learned weight, on ReRe's ranked beams."""
  setup = setup_of(
      mark=(),
      task=dict(answer_length=4),
      recipe=dict(name="amft"),
      imitation=dict(learned=True, step_size=1e3),
      sampling=dict(group_size=3, search="beam"),
      reward=dict(name="ranks"),
  )
  trie = tries.prefix_trie(ITEMS, vocab_size=6)
  return setup._replace(catalogue=trie)


def on_a_new_machine(agent, folder):
  """What a checkpoint gives back."""
  with Checkpointer(folder, keep=1) as checkpointer:
    checkpointer.save(1, agent)
    return checkpointer.restore(agent).tree


@pytest.mark.slow
@pytest.mark.parametrize("make", [steps_setup, imitation_setup])
def test_a_step_is_the_same_before_and_after_a_checkpoint(make, tmp_path):
  """Models, optimisers, spreads and weights: bit for bit."""
  setup, (problems, rollouts) = make(), samples()
  params = params_of()
  drawn = rlvr_policy.score(setup, params, rollouts).log_probs
  rollouts = rollouts._replace(log_probs=drawn)
  verdict = Reward(jnp.array([[1.0, 0, 0], [0, 1, 1]]), jnp.ones((2, 3), bool))
  seen = rlvr_verdicts.Seen(verdict, verdict)
  batch = rlvr_learner.Batch(problems, rollouts, seen)
  start = rlvr_learner.init(setup, jnp.array(0), jax.random.key(0), params)
  step = jax.jit(rlvr_programs.make_learn(setup))
  agent, first = step(start, batch)
  expected, metrics = step(agent, batch)
  actual, _ = step(on_a_new_machine(agent, tmp_path), batch)
  plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(
      x.dtype, jax.dtypes.prng_key) else x  # fmt: skip
  jax.tree.map(
      np.testing.assert_array_equal,
      *(jax.tree.map(plain, x) for x in (actual, expected)),
  )
  assert int(agent.spread.updates) == 1
  for name in metrics.keys() - set(rlvr_appeals.METRICS):
    assert np.all(np.isfinite(metrics[name])), name
  if make is steps_setup:
    assert {"steps/loss", "steps/score", "mass/losing"} <= metrics.keys()
    assert int(expected.steps.step) == 2
  else:
    # Nothing is known of the first update before the second batch.
    assert first["imitation_weight"] == 0.5 != metrics["imitation_weight"]


def test_a_group_may_be_drawn_in_parts():
  setup, (problems, _) = steps_setup(), samples()
  found = jax.jit(
      lambda p: rlvr_sampling.sample(setup, jax.random.key(0), p, problems)
  )(params_of())
  assert found.tokens.shape == (2, 4, 4) and found.truncated.shape == (2, 4)
  np.testing.assert_array_equal(found.prompts, problems.prompts)
  # Another part is another draw.
  assert np.any(found.tokens[:, :2] != found.tokens[:, 2:])


def test_beams_are_paid_by_their_places():
  setup, (problems, _) = imitation_setup(), samples()
  found = jax.jit(
      lambda p: rlvr_sampling.sample(setup, jax.random.key(0), p, problems)
  )(params_of())
  rows = [
      [row[real].tolist() for row, real in zip(*group)]
      for group in zip(found.tokens, found.mask)
  ]
  assert all(row in map(list, ITEMS) for group in rows for row in group)
  assert all(len(set(map(tuple, group))) == 3 for group in rows)
  hits = [[row == x for row in group] for group, x in zip(rows, ITEMS)]
  totals = np.sum(found.log_probs, axis=-1)
  assert np.all(np.diff(totals, axis=-1) <= 0)  # likeliest first
  verdict = Reward(
      jnp.array(hits, jnp.float32), jnp.ones((2, 3), bool)
  )
  reward = rlvr_rewards.outcome(
      setup.config, jax.random.key(0), rlvr_measures.Found(verdict), found
  )
  expected = recommendation.rank_reward(jnp.array(hits), verdict.valid)
  np.testing.assert_array_equal(reward.value, expected.value)
  assert np.all(reward.valid)


def test_narrow_groups_are_dropped_as_in_rlpr():
  setup = steps_setup()
  reward = Reward(
      jnp.array([[0.0, 1.0, 0.0], [0.4, 0.5, jnp.nan], [1.0, 1.0, 1.0]]),
      jnp.array([[True] * 3, [True, True, False], [True] * 3]),
  )
  spread, seen = running.init_spread(), []
  for _ in range(2):
    wide, spread = rlvr_rewards.wide_groups(setup.config, spread, reward)
    seen.append(wide.tolist())
  assert seen == [[True] * 3, [True, False, False]]
  mean = (np.std([0, 1, 0]) + 0.05 + 0) / 3
  np.testing.assert_allclose(spread.mean, mean, rtol=1e-6)
  none = setup_of().config
  wide, _ = rlvr_rewards.wide_groups(none, spread, reward)
  assert np.all(wide)


def test_the_balance_of_mass_is_that_of_whole_samples():
  setup, (_, rollouts) = steps_setup(), samples()
  log_probs = -0.1 * (1.0 + rollouts.tokens) * rollouts.mask
  rollouts = rollouts._replace(
      log_probs=log_probs,
      # Two equal samples in the second group.
      tokens=rollouts.tokens.at[1, 2].set(rollouts.tokens[1, 1]),
  )
  truth = Reward(jnp.array([[1.0, 0, 0], [0, 1, 1]]), jnp.ones((2, 3), bool))
  seen = rlvr_verdicts.Seen(truth, truth)
  found = rlvr_verdicts.mass_metrics(setup.config, seen, rollouts)
  expected = mass_balance.sampled_mass_balance(
      jnp.sum(log_probs, axis=-1),
      truth.value > 0,
      jnp.array([[0, 1, 2], [0, 1, 1]]),
      learning_rate=1.0,
  )
  for name, value in expected._asdict().items():
    np.testing.assert_allclose(
        found[f"mass/{name}"], np.mean(value), rtol=1e-6
    )
  assert 0 <= found["mass/losing"] <= 1
  assert rlvr_verdicts.mass_metrics(setup_of().config, seen, rollouts) == {}


def test_jepo_pays_what_a_sample_adds_to_the_bound_of_its_group(monkeypatch):
  """Of the sums of log-probs of the answer's tokens, its end included."""
  setup = setup_of(reward=dict(name="likelihood", likelihood="jensen"))
  problems, rollouts = samples()
  values = -jnp.arange(1.0, 19.0).reshape(2, 3, 3) / 10
  states = jnp.zeros((2, 3, 8, 8))
  monkeypatch.setattr(
      rlvr_measures.transformer, "completion_features", lambda *_: states
  )
  monkeypatch.setattr(
      rlvr_measures.log_probs,
      "score_features",
      lambda *_: TokenScores(values, values),
  )
  verdict = Reward(jnp.zeros((2, 3)), jnp.zeros((2, 3), bool))
  found = rlvr_measures.measure(
      setup, params_of(), problems, rollouts, verdict
  ).likelihood
  known = jnp.array([2, 3])[:, None, None] > jnp.arange(3)[None, None]
  sums = jnp.sum(jnp.where(known, values, 0.0), axis=-1)
  expected = likelihood.jensen_gains(sums)
  np.testing.assert_allclose(found.value, expected, rtol=1e-6)
  assert np.all(found.valid) and np.ptp(found.value[0]) > 0.1
