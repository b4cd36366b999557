"""The gradient of an expected likelihood, by listing all reasonings."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.recipes import likelihood as recipes
from rewardjax.rewards import likelihood
from rewardjax.types import Reward, Rollouts

# They share what they compile.
pytestmark = pytest.mark.xdist_group("recipes.likelihood")
# Three reasonings of one token; a two-token answer after each of them.
ANSWER = np.array([1, 0])
START = dict(
    reasoning=np.array([0.3, -0.4, 0.2]),
    answers=np.random.default_rng(2).normal(size=(3, 2, 3)),
)


def reasoning_log_probs(params):
  return jax.nn.log_softmax(params["reasoning"])


def answer_log_probs(params):
  """[3 reasonings, 2 tokens]."""
  scores = jax.nn.log_softmax(params["answers"])
  chosen = jnp.asarray(ANSWER)[None, :, None]
  return jnp.take_along_axis(scores, chosen, -1)[..., 0]


def objective(params, kind):
  """E over reasonings of the likelihood of the answer, exactly."""
  values = likelihood.answer_likelihood(answer_log_probs(params), kind=kind)
  return jnp.vdot(jnp.exp(reasoning_log_probs(params)), values)


@functools.cache
def exact_ascent(kind):
  slope = jax.jit(jax.grad(functools.partial(objective, kind=kind)))
  return jax.device_get(slope(START))


@functools.cache
def expected_ascent(kind, group_size=2, **options):
  """Sums the recipe's gradient over all groups of reasonings."""

  def one(chosen):
    start = jax.tree.map(jnp.asarray, START)
    held = reasoning_log_probs(start)
    tokens = chosen[None, :, None]
    rollouts = Rollouts(
        prompts=jnp.zeros((1, 1), int),
        prompt_mask=jnp.ones((1, 1), bool),
        tokens=tokens,
        mask=jnp.ones(tokens.shape, bool),
        log_probs=held[tokens],
        truncated=jnp.zeros(tokens.shape[:2], bool),
    )
    known = Reward(jnp.zeros((1, group_size)), jnp.ones((1, group_size), bool))

    def loss(params):
      answers = answer_log_probs(params)[chosen][None]
      return recipes.likelihood(
          reasoning_log_probs(params)[tokens],
          rollouts,
          known,
          answer_log_probs=answers,
          answer_mask=jnp.ones(answers.shape, bool),
          kind=kind,
          **options,
      )[0].value

    slope = jax.grad(loss)(start)
    chance = jnp.exp(jnp.sum(held[chosen]))
    return jax.tree.map(lambda x: -chance * x, slope)

  chosen = np.array(list(itertools.product(range(3), repeat=group_size)))
  found = jax.device_get(jax.jit(jax.vmap(one))(chosen))
  return jax.tree.map(lambda x: np.sum(x, 0), found)


KINDS = ("log_prob", "mean_log_prob", "prob", "geometric", "mean_prob")


@pytest.mark.parametrize("kind", KINDS)
def test_both_terms_are_the_exact_gradient(kind):
  with jax.enable_x64(True):
    expected = exact_ascent(kind)
    actual = expected_ascent(kind)
  for name in START:
    np.testing.assert_allclose(actual[name], expected[name], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_direct_term_the_answers_learn_nothing(kind):
  with jax.enable_x64(True):
    expected = exact_ascent(kind)
    actual = expected_ascent(kind, direct=False)
  np.testing.assert_array_equal(actual["answers"], 0.0)
  assert np.max(np.abs(expected["answers"])) > 0.01
  np.testing.assert_allclose(
      actual["reasoning"], expected["reasoning"], atol=1e-12
  )


def test_the_direct_term_of_log_prob_is_supervised_learning():
  with jax.enable_x64(True):
    sft = lambda p: jnp.vdot(
        jax.lax.stop_gradient(jnp.exp(reasoning_log_probs(p))),
        jnp.sum(answer_log_probs(p), -1),
    )
    expected = jax.jit(jax.grad(sft))(START)["answers"]
    actual = expected_ascent("log_prob")["answers"]
  np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_centred_advantages_shrink_only_the_score_term():
  with jax.enable_x64(True):
    expected = exact_ascent("prob")
    actual = expected_ascent("prob", estimator=group.centered)
  np.testing.assert_allclose(
      2 * np.asarray(actual["reasoning"]), expected["reasoning"], atol=1e-12
  )
  np.testing.assert_allclose(
      actual["answers"], expected["answers"], atol=1e-12
  )


def test_the_reward_of_rlpr_in_the_table():
  """Mean probability .6775, .4 without reasoning, format 1 at weight .1."""
  log_probs = jnp.log(jnp.array([[[0.9, 0.9, 0.01, 0.9]] * 2]))
  known = Reward(jnp.array([[1.0, 0.0]]), jnp.ones((1, 2), bool))
  arrays = dict(
      answer_log_probs=log_probs,
      answer_mask=jnp.ones(log_probs.shape, bool),
      baseline=jnp.array([[0.4]]),
  )
  reward = recipes.rlpr_reward(known, **arrays)
  np.testing.assert_allclose(reward.value, [[0.34975, 0.24975]], atol=1e-6)
  plain = recipes.rlpr_reward(known, **arrays, format_weight=0.0)
  np.testing.assert_allclose(plain.value, 0.2775, atol=1e-6)
