import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import noise_study, results, studies
from experiments.noise_studies import bandits as arms
from rewardjax.environments import bandits
from rewardjax.types import NoiseRates
from tests import enumeration
from tests import estimators as e
from tests import worlds as w
from tests.experiments import study_files

NAMES = tuple(noise_study.STUDIES)
config_of = functools.partial(study_files.config_of, "noise_study")


@pytest.mark.usefixtures("drawn_lightly")
@pytest.mark.parametrize("name", NAMES)
def test_tiny_study_writes_its_files(name, tmp_path, capsys):
  study_files.check_files(
      noise_study.run, "noise_study", name, tmp_path, capsys
  )


@pytest.mark.usefixtures("drawn_lightly")
def test_nothing_is_kept_unless_asked(tmp_path):
  before = set(results.RESULTS.glob("*.json"))
  noise_study.run(config_of("kl_fixed_point"), tmp_path)
  assert set(results.RESULTS.glob("*.json")) == before


@pytest.mark.parametrize("name", NAMES)
def test_config_names_its_study_and_refuses_other_sizes(name):
  study_files.check_config("noise_study", name)


def test_errors_name_field_and_choices(tmp_path):
  config = config_of("sweep")
  config.study = "sweeep"
  with pytest.raises(ValueError, match="config.study must be one of.*sweep"):
    noise_study.run(config, tmp_path)
  with pytest.raises(ValueError, match="correction must be one of none, "):
    arms.make_method("backwards", "none")
  with pytest.raises(ValueError, match="normalization must be one of none, "):
    arms.make_method("backward", "loo")


def card_world():
  rates = NoiseRates(jnp.full((1, 4), 0.1), jnp.full((1, 4), 0.2))
  return bandits.Bandits(
      jnp.array([[0.3, -0.2, 0.8, 0.0]]),
      jnp.array([[1.0, 0.0, 0.0, 1.0]]),
      jnp.ones((1, 1)),
      rates,
  )


def expected_gradients(world, method, *, group_size):
  return jax.jit(lambda world: arms.expected_gradients(
      world, world.logits, [method], group_size=group_size
  ))(world)


@pytest.mark.parametrize("correction", ["raw", "backward"])
def test_expected_gradients_agree_with_the_harness(correction):
  """Two independent listings of the same outcomes."""
  name = "none" if correction == "raw" else correction
  world = card_world()
  method = arms.make_method(name, "standardized")
  actual = expected_gradients(world, method, group_size=3)
  expected = enumeration.expected_gradient(
      w.FLAT,
      w.four_actions(),
      e.compose("standardized", correction),
      group_size=3,
  )
  np.testing.assert_allclose(actual[0, 0], expected.mean, atol=1e-5)


def test_exact_gradient_of_the_four_actions():
  world = card_world()
  expected = [[0.141231, -0.066121, -0.179736, 0.104626]]
  actual = jax.jit(lambda x: arms.exact_gradient(x, x.logits))(world)
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  backward = arms.make_method("backward", "none")
  actual = expected_gradients(world, backward, group_size=1)
  np.testing.assert_allclose(actual[0], expected, atol=1e-6)


def test_learning_without_noise_reaches_the_right_arm():
  """E1's clean curve: x = logit p grows by 8/7 p (1 - p) a unit of time.

  After 50 steps from p = 1/8 the gradient flow is at p = 0.975.
  """
  world = bandits.one_right_arm(
      jax.random.key(0), NoiseRates(0.0, 0.0), num_prompts=64, num_arms=8
  )
  _, rewards = arms.learn(
      jax.random.key(1),
      world,
      [arms.make_method("none", "none")],
      num_steps=50,
      group_size=8,
      learning_rate=1.0,
  )
  assert rewards.shape == (1, 50)
  assert float(rewards[0, -1]) == pytest.approx(0.975, abs=0.005)


def test_methods_are_trained_apart_on_the_same_draws():
  world = card_world()
  options = dict(num_steps=4, group_size=4, learning_rate=1.0)
  one, two = (
      arms.make_method("none", "none"),
      arms.make_method("backward", "leave_one_out"),
  )
  key = jax.random.key(3)
  both, _ = arms.learn(key, world, [one, two], **options)
  both = np.asarray(both)
  for row, method in zip(both, (one, two)):
    alone, _ = arms.learn(key, world, [method], **options)
    np.testing.assert_allclose(row, alone[0], atol=1e-6)


def test_mean_row_of_one_run_has_no_width():
  row = studies.mean_row("a", "b", [0.5])
  assert (row.low, row.mean, row.high, row.n) == (0.5, 0.5, 0.5, 1)
