import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.noise import channels, corrections
from rewardjax.types import NoiseRates
from tests import variants

channels = variants.programs(channels)
corrections = variants.programs(corrections)

NAN = jnp.nan
UNIFORMS = jnp.array([[0.05, 0.05, 0.35, 0.0], [0.15, 0.25, 0.25, 0.55]])
LABELS = jnp.array([[1.0, 0.0, 1.0, NAN], [0.0, 0.0, 1.0, 1.0]])
# Row 0: rates .1 and .3; row 1: rates .2 and .5.
PER_PROMPT = NoiseRates(jnp.array([[0.1], [0.2]]), jnp.array([[0.3], [0.5]]))
THREE = jnp.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]])


@variants.every
def test_apply_flips_by_hand(variant):
  actual = variant(channels.apply_flips)(UNIFORMS, LABELS, PER_PROMPT)
  # A truth of 1 flips below its false-negative rate, a 0 below the other; an
  # unknown label (NaN) stays unknown.
  expected = [[0, 1, 1, NAN], [1, 0, 0, 1]]
  np.testing.assert_array_equal(actual, expected)


def test_apply_flips_never_at_rate_0_and_always_at_rate_1():
  labels = jnp.array([0.0, 1.0, 0.0, 1.0])
  extremes = jnp.array([0.0, 0.0, 1 - 2**-24, 1 - 2**-24])
  never = channels.apply_flips(extremes, labels, NoiseRates(0.0, 0.0))
  always = channels.apply_flips(extremes, labels, NoiseRates(1.0, 1.0))
  np.testing.assert_array_equal(never, labels)
  np.testing.assert_array_equal(always, 1 - labels)


def test_apply_flips_takes_booleans_and_numbers_alike():
  uniforms = jax.random.uniform(jax.random.key(0), (3, 50))
  truth = uniforms[::-1] < 0.5
  rates = NoiseRates(0.4, 0.3)
  as_bool = channels.apply_flips(uniforms, truth, rates)
  as_number = channels.apply_flips(uniforms, truth.astype(float), rates)
  np.testing.assert_array_equal(as_bool, as_number)
  assert as_bool.dtype == jnp.float32


def test_apply_flips_takes_rates_per_sample():
  rates = NoiseRates(jnp.array([0.0, 1.0, 0.0, 1.0]), 0.0)
  actual = channels.apply_flips(jnp.full(4, 0.5), jnp.zeros(4), rates)
  np.testing.assert_array_equal(actual, [0, 1, 0, 1])


def test_apply_flips_compares_bfloat16_labels_in_float32():
  # 0.3 is no bfloat16: the nearest one, 0.30078, would flip this sample.
  labels = jnp.ones(1, jnp.bfloat16)
  uniform = jnp.array([0.3004])
  actual = channels.apply_flips(uniform, labels, NoiseRates(0.0, 0.3))
  assert actual.dtype == jnp.float32
  np.testing.assert_array_equal(actual, [1.0])


def test_apply_flips_holds_everything():
  def total(labels, rate):
    rates = NoiseRates(rate, rate)
    return jnp.sum(channels.apply_flips(jnp.full(4, 0.2), labels, rates))

  labels = jnp.array([0.0, 1.0, 1.0, 0.0])
  for gradient in jax.grad(total, (0, 1))(labels, jnp.array(0.3)):
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))


@pytest.mark.parametrize("per_group", [False, True])
def test_flip_binary_errs_at_its_rates(per_group):
  """Five standard errors; samples that share a uniform count as one."""
  labels = jnp.broadcast_to(jnp.arange(2.0), (40_000, 2))
  rates = NoiseRates(0.1, 0.3)
  observed = channels.flip_binary(
      jax.random.key(1), labels, rates, per_group=per_group
  )
  flipped = jnp.mean(observed != labels, 0)
  error = np.sqrt(np.array([0.1 * 0.9, 0.3 * 0.7]) / 40_000)
  assert np.all(np.abs(flipped - np.array([0.1, 0.3])) < 5 * error)


@pytest.mark.parametrize("advantage", [group.centered, group.standardized])
def test_flip_binary_per_group_negates_advantages_bit_exactly(advantage):
  """Equal rates: the noise of a group does not average out inside it."""
  keys = jax.random.split(jax.random.key(2))
  labels = jax.random.bernoulli(keys[0], 0.5, (64, 8)).astype(float)
  rates = NoiseRates(0.4, 0.4)
  observed = channels.flip_binary(keys[1], labels, rates, per_group=True)
  observed = jnp.asarray(observed)
  flipped = jnp.any(observed != labels, -1)
  assert 10 < int(jnp.sum(flipped)) < 50
  np.testing.assert_array_equal(
      advantage(observed),
      jnp.where(flipped[:, None], -1.0, 1.0) * advantage(labels),
  )


def test_flip_binary_draws_one_uniform_per_prompt_at_unequal_rates():
  """u decides the whole group: 0s flip below .2, 1s below .5."""
  labels = jnp.broadcast_to(jnp.array([0.0, 1.0, 0.0, 1.0]), (500, 4))
  observed = channels.flip_binary(
      jax.random.key(3), labels, NoiseRates(0.2, 0.5), per_group=True
  )
  patterns = {tuple(map(int, row)) for row in observed}
  assert patterns == {(0, 1, 0, 1), (0, 0, 0, 0), (1, 0, 1, 0)}


@variants.every
def test_apply_transition_by_hand(variant):
  uniforms = jnp.array([[0.79, 0.81, 0.96, 0.5], [0.04, 0.06, 0.31, 0.99]])
  classes = jnp.array([[0, 0, 0, -1], [2, 2, 2, 1]])
  draw = lambda u, c: channels.apply_transition(u, c, THREE)
  # Edges of row 0: .8, .95; of row 2: .05, .30. -1 is unknown and stays.
  expected = [[0, 1, 2, -1], [0, 1, 2, 2]]
  np.testing.assert_array_equal(variant(draw)(uniforms, classes), expected)


def test_draw_class_has_the_law_of_the_rows():
  classes = jnp.repeat(jnp.arange(3), 40_000)
  observed = channels.draw_class(jax.random.key(4), classes, THREE)
  shares = jnp.mean(jax.nn.one_hot(observed.reshape(3, -1), 3), 1)
  error = np.sqrt(THREE * (1 - THREE) / 40_000)
  assert np.all(np.abs(shares - THREE) < 5 * error)


def test_apply_transition_never_draws_a_class_of_probability_0():
  # The row sums to less than 1 by rounding; the last uniform is above it.
  row = jnp.array([0.3, 0.7 - 1e-6, 0.0])
  transition = jnp.stack([row, row, row])
  uniform = jnp.array([1 - 2**-24])
  observed = channels.apply_transition(uniform, jnp.array([0]), transition)
  np.testing.assert_array_equal(observed, [1])


def test_binary_transition_is_the_binary_channel():
  uniforms = (jnp.arange(1000) + 0.5) / 1000
  transition = channels.binary_transition(NoiseRates(0.1, 0.2))
  np.testing.assert_allclose(transition, [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
  for label in (0, 1):
    labels = jnp.full(1000, label)
    by_flips = channels.apply_flips(
        uniforms, labels.astype(float), NoiseRates(0.1, 0.2)
    )
    by_rows = channels.apply_transition(uniforms, labels, transition)
    assert float(jnp.mean(by_flips)) == float(jnp.mean(by_rows))


def test_binary_transition_takes_rates_of_two_shapes():
  actual = channels.binary_transition(NoiseRates(jnp.array([0.1, 0.2]), 0.3))
  assert actual.shape == (2, 2, 2)
  np.testing.assert_allclose(actual[1], [[0.8, 0.2], [0.3, 0.7]], rtol=1e-6)


def test_compose_is_one_channel_after_the_other():
  """All paths through a grid of 400 x 400 equally likely uniforms."""
  first, second = THREE, THREE[::-1]
  grid = (jnp.arange(400) + 0.5) / 400
  u, w = map(jnp.ravel, jnp.meshgrid(grid, grid))
  rows = []
  for k in range(3):
    middle = channels.apply_transition(u, jnp.full(u.shape, k), first)
    last = channels.apply_transition(w, middle, second)
    rows.append(np.bincount(np.asarray(last), minlength=3) / u.size)
  np.testing.assert_allclose(channels.compose(first, second), rows, atol=1e-5)


def test_compose_multiplies_youden_indices():
  first, second = NoiseRates(0.1, 0.2), NoiseRates(0.3, 0.05)
  both = channels.compose(*map(channels.binary_transition, (first, second)))
  rates = NoiseRates(both[0, 1], both[1, 0])
  expected = corrections.youden(first) * corrections.youden(second)
  np.testing.assert_allclose(corrections.youden(rates), expected, rtol=1e-6)


def test_rates_per_prompt_without_an_axis_are_refused(no_jaxtyping):
  """[B] with B = G would silently be read per sample."""
  rates = NoiseRates(jnp.full(4, 0.1), 0.2)
  with pytest.raises(ValueError, match="false_positive must be a number or h"):
    channels.apply_flips(jnp.zeros((4, 4)), jnp.zeros((4, 4)), rates)


def test_channels_name_what_does_not_fit(no_jaxtyping):
  labels = jnp.zeros((2, 4))
  with pytest.raises(ValueError, match="false_negative must be in .0, 1., got"):
    channels.flip_binary(jax.random.key(0), labels, NoiseRates(0.1, 1.2))
  with pytest.raises(ValueError, match="false_positive must broadcast to"):
    rates = NoiseRates(jnp.zeros((3, 1)), 0.0)
    channels.flip_binary(jax.random.key(0), labels, rates)
  with pytest.raises(ValueError, match="apply_flips: uniforms must broadcast"):
    channels.apply_flips(jnp.zeros(3), labels, NoiseRates(0.1, 0.2))
  with pytest.raises(ValueError, match="binary_transition: false_positive"):
    channels.binary_transition(NoiseRates(-0.1, 0.2))
  with pytest.raises(ValueError, match=r"must be square, got \(2, 3\)"):
    channels.draw_class(jax.random.key(0), jnp.zeros(4, int), THREE[:2])
  with pytest.raises(ValueError, match=r"compose.*'second': \(2, 2\)"):
    channels.compose(THREE, THREE[:2, :2])
