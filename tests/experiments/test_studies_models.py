"""The small policies of the studies, against what is known exactly."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import agents
from experiments.noise_studies import agents as studies_agents
from experiments.noise_studies import answers as studies_answers
from experiments.noise_studies import flow as studies_flow
from experiments.noise_studies import models as studies_models
from experiments.noise_studies import recommender as studies_recommender
from experiments.noise_studies import routes as studies_routes
from experiments.noise_studies import speller as studies_speller
from experiments.noise_studies import tables as studies_tables
from experiments.noise_studies import tools as studies_tools
from rewardjax.data import transit
from rewardjax.environments import bandits, items, quests
from rewardjax.models.flow import VelocityNet
from rewardjax.models.transformer import Transformer
from rewardjax.policies import decoding
from rewardjax.rewards import routes
from rewardjax.rewards.verifiers import text, tool_calls
from rewardjax.types import NoiseRates
from tests import light_keys

KEY = jax.random.key(0, impl=light_keys.IMPL)
PROMPTS = studies_models.pack([[1, 2], [3]], 2, left=True)


@functools.cache
@jax.jit
def random_speller():
  params = studies_speller.init(KEY, prompt=2, length=3, vocab=4, width=5)
  out = jax.random.normal(KEY, params.out.shape)
  return params._replace(out=out, bias=params.bias + 0.3)


@functools.cache
def sampled():
  """Rollouts, and what they score."""

  @jax.jit
  def run(params):
    rollouts = decoding.sample(
        KEY, studies_speller.decoder(), params, *PROMPTS,
        num_samples=6, max_new_tokens=3, stop_tokens=(0,),
    )
    return rollouts, studies_models.score(
        studies_speller.logits, params, rollouts
    )

  return run(random_speller())


def test_rows_are_padded_on_their_side():
  np.testing.assert_array_equal(PROMPTS.tokens, [[1, 2], [0, 3]])
  np.testing.assert_array_equal(PROMPTS.mask, [[1, 1], [0, 1]])
  right = studies_models.pack([[1, 2], [3]], 3)
  np.testing.assert_array_equal(right.tokens, [[1, 2, 0], [3, 0, 0]])
  picked = right.rows(jnp.array([1, 1]))
  np.testing.assert_array_equal(picked.mask, [[1, 0, 0]] * 2)


def test_a_speller_scores_what_it_samples():
  rollouts, scores = jax.device_get(sampled())
  assert np.any(~rollouts.mask) and len(np.unique(rollouts.tokens)) > 2
  real = np.asarray(rollouts.mask)
  np.testing.assert_allclose(
      scores[real], rollouts.log_probs[real], rtol=1e-4, atol=1e-5
  )


def test_what_follows_a_token_does_not_move_its_logits():
  rollouts = sampled()[0]._replace(mask=jnp.asarray(np.ones((2, 6, 3), bool)))
  logits = jax.jit(lambda x: studies_speller.logits(random_speller(), x))
  before = jax.device_get(logits(rollouts))
  other = np.array(rollouts.tokens)
  other[..., 1] = (other[..., 1] + 1) % 4
  after = jax.device_get(
      logits(rollouts._replace(tokens=jnp.asarray(other)))
  )
  np.testing.assert_array_equal(after[..., :2, :], before[..., :2, :])
  assert np.all(np.any(after[..., 2, :] != before[..., 2, :], axis=-1))


def test_imitation_learns_what_is_shown():
  shown = studies_models.pack([[3, 1, 0], [2, 0]], 3)

  @jax.jit
  def learn(start):
    kept = studies_models.imitate(
        KEY, studies_speller.logits, start,
        lambda key: (PROMPTS, shown), num_steps=60, learning_rate=0.1,
    )
    answers = studies_models.Text(*(x[:, None] for x in shown))
    rollouts = studies_models.given(PROMPTS, answers)
    last = jax.tree.map(lambda x: x[-1], kept)
    return studies_models.score(studies_speller.logits, last, rollouts)

  scores = np.asarray(learn(random_speller()))[:, 0]
  assert np.all(scores[np.asarray(shown.mask)] > np.log(0.95))


def test_listed_answers_are_looked_up_and_others_are_last():
  judged = studies_answers.judge(
      text.exact_match, [(1, 0), (2, 3, 1)],
      [["a", "b", "c"], ["b", "b", "a"]], ["a", "b"], vocab_size=4,
  )
  np.testing.assert_array_equal(judged.right, [[1, 0, 0], [1, 1, 0]])
  rows = studies_models.pack([[1, 0], [2, 3, 1], [2, 0]], 3)
  answers = studies_models.Text(
      *(jnp.broadcast_to(x, (2, 3, 3)) for x in rows)
  )
  rollouts = studies_models.given(PROMPTS, answers)
  scores, right = judged.look_up(jnp.array([1, 0]), rollouts)
  np.testing.assert_array_equal(right, [[1, 1, 0], [1, 0, 0]])
  np.testing.assert_array_equal(scores, right.astype(float))


def test_arms_are_mapped_like_named_ones():
  run = lambda key, arm: (jax.random.normal(key) + arm, arm * jnp.ones(2))
  arms = {"b": 1.0, "a": 2.0}
  found = studies_tables.stacked(run, arms, seed=3, num_seeds=4)
  expected = studies_tables.side_by_side(
      lambda key, name: run(key, arms[name]), list(arms), seed=3, num_seeds=4
  )
  assert list(found) == list(arms)
  for name in arms:
    np.testing.assert_allclose(found[name][0], expected[name][0], rtol=1e-6)
    np.testing.assert_array_equal(found[name][1], np.full((4, 2), arms[name]))


def test_trailing_means_by_hand():
  actual = studies_tables.trailing(np.array([[1.0, 3.0, 5.0, 9.0]]), 2)
  np.testing.assert_allclose(actual, [[1, 2, 4, 7]])


def test_calls_are_what_the_verifier_reads():
  world = studies_tools.Tools(tools=2, parameters=2, values=2)
  every, sets = world.rows(sets=False), world.rows(sets=True)
  # A tool, and none, one or two of four pairs; sets hold each name once.
  assert len(every) == 2 * (1 + 4 + 16) and len(sets) == 2 * (1 + 4 + 4)
  assert set(sets) < set(every) and len(set(every)) == len(every)
  calls = [tool_calls.parse_calls(world.text(row))[0] for row in sets]
  assert [(1 + len(c.parameters) * 2) for c in calls] == [*map(len, sets)]
  assert len({json.dumps(c, sort_keys=True) for c in calls}) == len(sets)


def test_routes_are_what_the_verifier_reads():
  city = transit.TransitMap({"L0": ("A", "B"), "L1": ("B", "C")})
  words = studies_routes.Vocabulary(tuple(city.lines), tuple(city.stations))
  row = tuple(map(words.of, ("L0", "B", "L1", "C")))
  legs = routes.parse_route(words.text(row, "A"))
  assert legs == [routes.Leg("L0", "A", "B"), routes.Leg("L1", "B", "C")]
  whole = studies_routes._routes(city, words)
  judged = studies_routes._judge(routes.routes, words, whole)
  planning = [i for i, q in enumerate(whole) if q.stage == 2]
  found = studies_routes._right_answers(words, judged, np.array(planning))
  # A to C and back: one way each.
  back = tuple(map(words.of, ("L1", "B", "L0", "A")))
  np.testing.assert_array_equal(found.tokens[:, 0], [row, back])
  assert found.tokens.shape == (2, 1, 4) and np.all(found.mask)


def test_easy_questions_have_the_answers_of_the_map():
  city = transit.TransitMap({"L0": ("A", "B"), "L1": ("B", "C")})
  words = studies_routes.Vocabulary(tuple(city.lines), tuple(city.stations))
  found = [q.reference for q in studies_routes._easy(city, words)]
  assert found == ["yes", "no", "1", "yes", "yes", "2", "no", "yes", "1"]


ARMS = bandits.one_right_arm(
    KEY, NoiseRates(0.0, 0.0), num_prompts=3, num_arms=3
)
SHOP = items.Shop(
    jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    jnp.arange(3)[:, None],
)
WORLDS = {
    "bandits": (bandits.world(ARMS), 1),
    "items": (items.world(SHOP), 2),
    "quests": (quests.world(quests.Sizes(width=2, objects=1, length=1)), 4),
}


@pytest.mark.parametrize(
    "name, algorithm",
    [("bandits", "rloo"), ("items", "grpo"), ("quests", "ppo"),
     ("quests", "grpo")],
)
def test_agents_learn_in_every_world(name, algorithm):
  world, num_turns = WORLDS[name]
  setup = agents.Setup(
      algorithm, num_turns=num_turns, most=num_turns, dense=1.0, batch_size=8,
      group_size=8, num_steps=60, learning_rate=0.05,
  )
  learn = jax.jit(functools.partial(agents.learn, world=world, setup=setup))
  _, success = learn(KEY)
  assert np.mean(success[-5:]) > np.mean(success[:3]) + 0.4


@functools.cache
def played():
  """Episodes, their log-probs and how they are paid."""
  world = quests.world(quests.Sizes(width=2, objects=2, length=2))
  setup = agents.Setup("ppo", 5, 2, 0.0, 3, 2, 1, 0.1)

  @jax.jit
  def run():
    params = agents.init(KEY, world, 4)
    params = jax.tree.map(
        lambda x: jax.random.normal(jax.random.fold_in(KEY, x.size), x.shape),
        params,
    )
    made = agents.play(
        KEY, world, agents.policy, params, num_turns=5, shape=(3, 2)
    )
    paid = [agents.paid(made, setup._replace(dense=x)) for x in (0.0, 1.0)]
    return made, agents.log_probs(params, made), paid

  return jax.device_get(run())


def test_agents_score_what_they_played():
  made, log_probs, _ = played()
  np.testing.assert_allclose(
      log_probs, made.log_probs, rtol=1e-4, atol=1e-5
  )
  # Both episodes of a group begin alike.
  np.testing.assert_array_equal(made.tokens[:, 0, :2], made.tokens[:, 1, :2])


def test_dense_and_sparse_pay_by_the_same_success():
  made, _, (sparse, dense) = played()
  sparse = np.sum(sparse, axis=-1)
  np.testing.assert_array_equal(sparse, made.success)
  dense = np.sum(dense, axis=-1)
  assert np.all(np.isclose(dense, 1) == made.success)


def test_an_unknown_algorithm_names_the_choices():
  setup = agents.Setup("a2c", 5, 2, 0.0, 3, 2, 1, 0.1)
  with pytest.raises(ValueError, match="config.algorithm must be one of ppo"):
    agents.learn(KEY, WORLDS["bandits"][0], setup)


def test_the_expert_of_the_study_succeeds():
  sizes = quests.Sizes(width=2, objects=3, length=2)
  play = jax.jit(lambda: agents.play(
      KEY, quests.world(sizes), studies_agents.expert, sizes,
      num_turns=sizes.most_turns, shape=(8, 1),
  ))
  assert np.all(play().success)


def test_a_budget_ends_where_its_share_says():
  lines = {"a": np.arange(10.0)[None], "b": np.arange(10.0)[None]}
  found = studies_agents._within_budget(lines, (0.0, 0.95))
  assert [float(x[0]) for x in found.values()] == [9, 0]


def test_expected_quality_is_exact():
  """A chain without choice: the next item is first in the list, or last."""
  task = studies_recommender.Task(
      studies_recommender.tries.prefix_trie([(0,), (1,), (2,)], vocab_size=3),
      length=1, history=1,
  )
  params = studies_speller.init(KEY, prompt=1, length=1, vocab=3, width=3)
  params = params._replace(
      prompt=10 * jnp.eye(3)[None], out=jnp.roll(10 * jnp.eye(3), 1, 1)[None]
  )

  @jax.jit
  def measure():
    test = task.draw(KEY, SHOP, 8)
    return test, studies_recommender._quality(task, params, SHOP, test)

  (_, before, target), found = jax.device_get(measure())
  np.testing.assert_array_equal(target, (before + 1) % 3)
  np.testing.assert_allclose(found, [1, 1], rtol=1e-6)


def test_states_belong_to_the_token_that_was_read():
  model = Transformer(3, width=4, num_layers=1, num_heads=1, mlp_width=4)
  tokens = jnp.array([[0, 1]])
  params = jax.jit(model.init)(KEY, tokens, tokens >= 0)["params"]
  observer = studies_flow.Observer(model, params, VelocityNet(4, 1), 0.8, 4)
  prompts = studies_models.pack([[1, 2], [2, 2]], 2)
  answers = studies_models.Text(
      jnp.array([[[0, 1, 2]] * 2] * 2), jnp.ones((2, 2, 3), bool)
  )
  rollouts = studies_models.given(prompts, answers)
  states = jax.jit(lambda x: observer.states(x))
  found, before = jax.device_get(states(rollouts))
  assert found.shape == (2, 2, 3, 4)
  np.testing.assert_array_equal(before[..., 1:, :], found[..., :-1, :])
  other = rollouts._replace(tokens=rollouts.tokens.at[0, 1, 1].set(0))
  moved = np.any(np.asarray(states(other)[0]) != found, axis=-1)
  np.testing.assert_array_equal(moved[0], [[0, 0, 0], [0, 1, 1]])
  assert not np.any(moved[1])
