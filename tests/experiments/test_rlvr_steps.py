"""Scores of steps: who gives them, who learns them, which paper reads them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import (
    rlvr_imitation,
    rlvr_learner,
    rlvr_policy,
    rlvr_recipe_calls,
    rlvr_steps,
)
from experiments.rlvr_recipes import STEP_RECIPES, Scored, StepScores
from experiments.rlvr_scorers import SCORERS
from experiments.rlvr_step_models import MODELS
from rewardjax.core.masking import Mean
from rewardjax.models import transformer
from rewardjax.recipes import (
    decomposition,
    flow,
    oreal,
    process,
    two_level,
)
from rewardjax.reward_models import outcome
from rewardjax.rewards import marks
from rewardjax.shaping import renorm
from rewardjax.training import meta
from rewardjax.training.state import init_state
from rewardjax.types import Reward
from tests.experiments import test_rlvr_recipes as recipes
from tests.experiments.test_rlvr_recipes import B, G, T
from tests.experiments.test_rlvr_rewards import (
    MARK,
    answer_log_probs,
    params_of,
    samples,
    setup_of,
)

# They share what is dear to make.
pytestmark = pytest.mark.xdist_group("steps")

batch = recipes.batch
K = 3


def arm(name, scorer, **options):
  return recipes.tiny(
      recipe=dict(name=name, options=options),
      steps=dict(scorer=scorer, every=2, threshold=0.3),
  )


@pytest.fixture(scope="module")
def steps(batch):
  """Scores in [0, 1] of steps of two tokens, and numbers for tokens."""
  rng = np.random.default_rng(1)
  tokens, mask = batch[0].tokens, batch[0].mask
  ids = marks.step_ids(tokens, mask, separator=(), every=2, num_steps=K)
  present = two_level.present_steps(ids, mask, num_steps=K)
  values = jnp.asarray(rng.random((B, G, K)), jnp.float32)
  found = batch[2].reference + jnp.asarray(rng.random((B, G, T)), jnp.float32)
  return StepScores(found, values, ids, present)


ON_STEPS = lambda s: dict(
    step_rewards=s.values, step_ids=s.ids, step_mask=s.mask
)
# recipe: scorer, options, the paper's own function on the scores.
PAPERS = {
    "oprl": (
        "process",
        dict(coefficient=0.4, weight=0.7, estimator="centered"),
        lambda s, c: lambda *x: two_level.oprl(
            *x,
            process_log_probs=s.tokens,
            step_ids=s.ids,
            num_steps=K,
            coefficient=0.4,
            weight=0.7,
            estimator=lambda r, m: r - (r * m).sum(-1, keepdims=True)
            / jnp.maximum(m.sum(-1, keepdims=True), 1),
        ),
    ),
    "tp_grpo": (
        "likelihood",
        dict(weight=0.7),
        lambda s, c: lambda *x: two_level.tp_grpo(
            *x,
            labels=s.values >= 0.3,
            step_ids=s.ids,
            step_mask=s.mask,
            weight=0.7,
        ),
    ),
    "ppr": (
        "judge",
        dict(normalize="centered", decay=0.8, value_clip=0.1),
        lambda s, c: lambda *x: process.ppr(
            *x,
            **ON_STEPS(s),
            **c,
            normalize=renorm.centered_steps,
            decay=0.8,
            value_clip=0.1,
        ),
    ),
    "reward_refinement": (
        "progress",
        dict(threshold=0.4, weight=0.5),
        lambda s, c: lambda *x: process.reward_refinement(
            *x, **ON_STEPS(s), **c, threshold=0.4, weight=0.5
        ),
    ),
    "rlfr": (
        "flow",
        dict(coefficient=0.3, threshold=0.2),
        lambda s, c: lambda *x: flow.rlfr(
            *x, scores=s.tokens, coefficient=0.3, threshold=0.2
        ),
    ),
    "lare": (
        "returns",
        dict(decay=0.8),
        lambda s, c: lambda *x: decomposition.lare(
            *x, **ON_STEPS(s), **c, decay=0.8
        ),
    ),
    "oreal": (
        "outcome",
        dict(negative_coefficient=0.7),
        lambda s, c: lambda *x: oreal.oreal(
            *x, token_rewards=s.tokens, negative_coefficient=0.7
        ),
    ),
}


@pytest.mark.parametrize("name", PAPERS)
def test_both_halves_are_the_paper_on_the_scores(name, batch, steps):
  """Values, metrics and gradients; by the paper's own function."""
  assert set(PAPERS) == {*STEP_RECIPES, "oreal"}
  rollouts, reward, scored, trained = batch
  scorer, options, by_hand = PAPERS[name]
  config = arm(name, scorer, **options)
  rlvr_steps.check(config)
  rlvr_recipe_calls.check(config)
  scored = Scored(values=scored.values, steps=steps)
  credit = rlvr_recipe_calls.credit(config, rollouts, reward, scored)
  halves = lambda x: rlvr_recipe_calls.loss(config, rollouts, credit, scored, x)

  def whole(x):
    critic = dict(values=x.values, behavior_values=scored.values)
    return by_hand(steps, critic)(x.log_probs, rollouts, reward)

  found, gradients = recipes.gradient(halves, trained)
  chex.assert_trees_all_close(
      (found, gradients),
      recipes.gradient(whole, trained),
      rtol=1e-4,
      atol=1e-6,
  )
  assert float(jnp.sum(jnp.abs(gradients[0]))) > 0


@functools.cache
def drawn():
  """Samples, their outcomes and the states behind them, once for all."""
  setup = scored_by("judge")
  problems, rollouts = samples()
  reward = Reward(
      jnp.array([[1.0, 0.0, 0.0], [jnp.nan, 1.0, 0.0]]),
      jnp.array([[True] * 3, [False, True, True]]),
  )

  @jax.jit
  def look(params):
    log_probs = rlvr_policy.score(setup, params, rollouts).log_probs
    own = rollouts._replace(log_probs=log_probs)
    return rlvr_steps.read(setup, params, own, reward)

  return problems, look(params_of())


def scored_by(scorer, **changes):
  name = next(k for k, x in STEP_RECIPES.items() if scorer in x.scorers)
  return setup_of(
      recipe=dict(name=name),
      steps=dict(scorer=scorer, every=2, **changes),
      task=dict(answer_length=4),
  )


def asked_of(scorer, **changes):
  """One batch of two prompts as the scorer of an agent sees it."""
  setup, params = scored_by(scorer, **changes), params_of()
  state = rlvr_steps.init(setup, jax.random.key(0), params)
  train = init_state(params, optax.sgd(0.1))
  agent = rlvr_learner.Agent(
      jnp.array(0), train, (), None, jax.random.key(1), steps=state
  )
  return setup, agent, *drawn()


def scores_of(asked):
  setup, agent, problems, read = asked
  key = jax.random.key(2)
  score = lambda agent: rlvr_steps.score(
      setup, agent, key, problems, read, Scored()
  )
  return jax.jit(score)(agent).steps


def test_progress_is_what_a_step_adds_to_the_answer():
  """Of plain forward passes, after each step and before the first one."""
  found = scores_of(asked_of("progress"))
  # The second sample of the first prompt says 3 3 and stops.
  after = [
      np.mean(np.exp(answer_log_probs(params_of(), [1, *text, MARK], [2, 5])))
      for text in ([], [3, 3])
  ]
  expected = [after[1] - after[0], 0.0]
  np.testing.assert_allclose(found.values[0, 1], expected, atol=2e-6)
  np.testing.assert_array_equal(found.mask[0, 1], [True, True])
  assert abs(expected[0]) > 1e-4


def test_a_process_model_starts_as_the_policy_and_learns_who_succeeds():
  """One Adam step on the paper's own loss, by hand."""
  setup, agent, problems, read = asked = asked_of("process")
  np.testing.assert_array_equal(scores_of(asked).values, 0.0)
  state, metrics = jax.jit(
      lambda state: rlvr_steps.learn(setup, state, jax.random.key(0), read)
  )(agent.steps)

  def loss(params):
    log_probs = rlvr_policy.score(setup, params, read.rollouts).log_probs
    return two_level.oprl_reward_loss(
        log_probs, read.rollouts, read.reward,
        step_ids=read.step_ids, num_steps=2, coefficient=0.05,
    ).value  # fmt: skip

  value, slope = jax.jit(jax.value_and_grad(loss))(agent.steps.params)
  optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
  moved, _ = optimizer.update(slope, optimizer.init(agent.steps.params))
  expected = optax.apply_updates(agent.steps.params, moved)
  np.testing.assert_allclose(metrics["steps/loss"], value, rtol=1e-5)
  # Adam's first step is the sign of the gradient: 0 may go either way.
  clear = jax.tree.map(lambda g: jnp.abs(g) > 1e-5, slope)
  pick = lambda tree: jax.tree.map(
      lambda x, keep: jnp.where(keep, x, 0.0), tree, clear
  )
  chex.assert_trees_all_close(
      pick(state.params), pick(expected), rtol=1e-5, atol=1e-6
  )
  after = asked[0], agent._replace(steps=state), problems, read
  margin = lambda x: float(jnp.sum(x.values[0, 0]) - jnp.sum(x.values[0, 1:]))
  assert margin(scores_of(after)) > 0


def test_a_head_reads_states_that_have_read_their_token():
  """The features of one plain pass; the loss is that of the outcome."""
  setup, agent, _, read = asked_of("judge")
  tokens = jnp.array([[1, 1, MARK, 2, 5]])  # the prompt's one, and a sample
  plain = transformer.features(
      setup.model, params_of()["policy"], tokens, jnp.ones((1, 5), bool)
  )
  np.testing.assert_allclose(read.states[0, 0], plain[0], atol=2e-6)
  rng = np.random.default_rng(0)
  shake = lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), jnp.float32)
  params = jax.tree.map(shake, agent.steps.params)
  logits = MODELS["outcome"].loss  # the same head, another loss
  found = logits(setup, params, read, jax.random.key(0))
  agent = agent._replace(steps=agent.steps._replace(params=params))
  scores = scores_of((setup, agent, None, read))
  losses = outcome.outcome_loss(
      scores.tokens, jnp.array([[True, False, False], [False, True, False]]),
      read.rollouts.mask,
  )  # fmt: skip
  expected = Mean.of(losses, read.reward.valid).value
  np.testing.assert_allclose(found.value, expected, rtol=1e-5)
  # A judge says probabilities: of what stands at the ends of steps.
  ends = jax.nn.sigmoid(scores.tokens[0, 0, jnp.array([1, 3])])
  np.testing.assert_allclose(scores.values[0, 0], ends, rtol=1e-6)


def test_a_head_may_see_factors_instead_of_states():
  """Linear in the place and in whether a token is above the one before."""
  texts = ("obs[0]", "act[0] > obs[1]")
  setup, agent, _, read = asked_of("returns", hidden=0, factors=texts)
  kernel = jnp.array([[0.5], [2.0]])
  params = jax.tree.map(jnp.zeros_like, agent.steps.params)
  params = {"Dense_0": params["Dense_0"] | {"kernel": kernel}}
  agent = agent._replace(steps=agent.steps._replace(params=params))
  found = scores_of((setup, agent, None, read))
  # The second sample says 3, 3 and stops.
  np.testing.assert_allclose(found.tokens[0, 1, :3], [2.0, 0.5, 3.0])


@pytest.mark.parametrize("scorer", ["judge", "returns", "flow"])
def test_no_model_reads_what_is_unknown(scorer):
  """Samples without an outcome, and whatever stands behind a sample."""
  setup, agent, _, read = asked_of(scorer, subset=2, hidden=4)
  loss = lambda read: MODELS[scorer].loss(
      setup, agent.steps.params, read, jax.random.key(3)
  )
  used = (read.rollouts.mask & read.told[..., None])[..., None]
  real = jnp.pad(used, ((0, 0), (0, 0), (1, 0), (0, 0)), mode="edge")
  hidden = read._replace(states=jnp.where(real, read.states, jnp.nan))
  value = lambda read: jax.jit(lambda: loss(read).value)()
  np.testing.assert_array_equal(value(hidden), value(read))
  assert np.isfinite(value(read))


def test_the_weight_of_imitation_is_that_of_the_look_ahead():
  """What is remembered meets the next batch: the slope of `training.meta`."""
  params = {"a": jnp.array([0.2, 0.3]), "b": jnp.array(0.5)}
  exploration = lambda p: 0.5 * jnp.sum((p["a"] - jnp.array([0.0, 2.0])) ** 2)
  imitation = lambda p: jnp.sum(p["a"] ** 3) + p["b"] ** 2
  following = lambda p: jnp.sum(jnp.cos(p["a"])) * p["b"]
  optimizer, weight = optax.adam(0.1), jnp.array(0.4)
  train = init_state(params, optimizer)
  train = train._replace(  # with moments
      opt_state=optimizer.update(
          jax.grad(following)(params), train.opt_state, params
      )[1]
  )
  slopes = jax.grad(exploration)(params), jax.grad(imitation)(params)
  leaning = rlvr_imitation.look_ahead(optimizer, train, weight, *slopes)
  mixed = meta.mix(*slopes, weight=weight)
  moved = optimizer.update(mixed, train.opt_state, params)[0]
  reached = optax.apply_updates(params, moved)
  expected = meta.lookahead_slope(
      lambda p: -following(p), weight, params, *slopes,
      optimizer=optimizer, opt_state=train.opt_state,
  )  # fmt: skip
  config = recipes.tiny(
      recipe=dict(name="amft"),
      imitation=dict(learned=True, step_size=0.01, largest_change=1.0),
  )
  _, rollouts = samples()
  found = rlvr_imitation.look_back(
      config, leaning, jax.grad(following)(reached), rollouts
  )
  np.testing.assert_allclose(found, weight + 0.01 * expected, rtol=1e-5)
  assert abs(float(expected)) > 1e-2


def test_gradients_at_two_weights_are_those_of_two_losses():
  data = jnp.arange(4.0)
  loss = lambda p, batch, key: (Mean.of((p * batch - 1.0) ** 2), {})
  found = rlvr_imitation.gradient(
      loss, jnp.array(0.5), data, jax.random.key(0), num_microbatches=2
  )
  np.testing.assert_allclose(found, np.mean(2 * (0.5 * data - 1) * data))


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(steps=dict(scorer="value")),
            r"config\.steps\.scorer must be one of none, likelihood, progress",
        ),
        (
            dict(recipe=dict(name="oprl")),
            r"config\.steps\.scorer must be one of process for .*'oprl', got "
            r"'none'",
        ),
        (
            dict(recipe=dict(name="grpo"), steps=dict(scorer="flow")),
            r"config\.steps\.scorer must be one of none for .*'grpo'",
        ),
        (
            dict(steps=dict(every=0)),
            r"steps\.every must be in \[1",
        ),
        (
            dict(
                recipe=dict(name="rlfr"), steps=dict(scorer="flow", hidden=0)
            ),
            r"steps\.hidden must be in \[1",
        ),
        (dict(steps=dict(time=1.0)), r"steps\.time must be in \[0, 1\)"),
        (
            dict(steps=dict(factors=("exit()",))),
            r"config\.steps\.factors: 'exit\(\)': ",
        ),
        (dict(steps=dict(subset=1)), r"steps\.subset must be in \[2"),
        (
            dict(
                recipe=dict(name="ppr", options=dict(normalize="anchor")),
                steps=dict(scorer="judge"),
            ),
            r"config\.recipe\.options\.normalize must be one of anchored, ",
        ),
        (
            dict(imitation=dict(learned=True)),
            r"config\.imitation\.learned needs config\.recipe\.name 'amft'",
        ),
        (
            dict(
                imitation=dict(learned=True),
                recipe=dict(name="amft"),
                updates_per_batch=2,
            ),
            r"config\.updates_per_batch must be 1 with config\.imitation",
        ),
        (
            dict(imitation=dict(low=0.9, high=0.5)),
            r"imitation\.high must be in \[0\.9",
        ),
        (
            dict(reward=dict(name="ranks")),
            r"config\.reward\.name 'ranks' reads .* set config\.sampling\.sea",
        ),
        (
            dict(sampling=dict(search="beam", temperature=0.5)),
            r"config\.sampling\.temperature must be 1\.0 with config\.sampling",
        ),
        (
            dict(sampling=dict(parts=3)),
            r"config\.sampling\.parts must divide config\.sampling\.group_si",
        ),
        (
            dict(shaping=dict(spread=dict(factor=-1.0))),
            r"shaping\.spread\.factor must be in \[0",
        ),
        (
            dict(reward=dict(likelihood="jensen", debias=True)),
            r"config\.reward\.debias needs a probability",
        ),
        (
            dict(
                reward=dict(likelihood="jensen"),
                sampling=dict(group_size=1),
                credit=dict(estimator="none"),
            ),
            r"group_size must be at least 2 for config\.reward\.likelihood",
        ),
    ],
)
def test_wrong_values_name_their_field(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    setup_of(**changes)
  assert "\n" not in str(error.value)


def test_every_scorer_belongs_to_a_recipe():
  read = {x for recipe in STEP_RECIPES.values() for x in recipe.scorers}
  assert read | {"outcome"} == set(SCORERS)
  assert set(MODELS) < set(SCORERS)
