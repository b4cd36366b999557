import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.shaping import transforms
from tests import variants

transforms = variants.programs(transforms)

NAN = jnp.nan
# Row 0 is the example of the table; row 1 has a hole and padding.
SCORES = jnp.array([[0.9, 0.8, 0.95, 0.7, NAN], [0.5, NAN, 0.9, NAN, NAN]])
MASK = jnp.array(
    [[True, True, True, True, False], [True, False, True, False, False]]
)


@variants.every
def test_clip_by_hand(variant):
  call = variant(transforms.clip_steps)
  actual = call(SCORES, MASK, threshold=0.85)
  expected = [[0, -0.05, 0, -0.15, 0], [-0.35, 0, 0, 0, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


@variants.every
def test_delta_by_hand(variant):
  actual = variant(transforms.delta_steps)(SCORES, MASK)
  expected = [[0.1, -0.15, 0.95, 0, 0], [0.5, 0, 0, 0, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_clip_then_delta_of_the_table():
  clipped = transforms.clip_steps(SCORES[:1], MASK[:1], threshold=0.85)
  actual = transforms.delta_steps(clipped, MASK[:1])
  np.testing.assert_allclose(actual[0], [0.05, -0.05, 0, 0, 0], atol=1e-6)
  np.testing.assert_allclose(jnp.sum(actual), 0.0, atol=1e-6)


def test_the_return_of_delta_is_the_score_itself():
  rewards = transforms.delta_steps(SCORES[:1], MASK[:1])[0]
  to_go = jnp.cumsum(rewards[::-1])[::-1]
  np.testing.assert_allclose(to_go[:4], [0.9, 0.8, 0.95, 0], atol=1e-6)


def test_more_good_steps_pay_nothing():
  """Five steps of .95 before the last: raw sum 3.35 to 8.1."""
  short = jnp.array([0.9, 0.8, 0.95, 0.7])
  long = jnp.concatenate([short[:3], jnp.full(5, 0.95), short[3:]])
  raw = [float(jnp.sum(x)) for x in (short, long)]
  np.testing.assert_allclose(raw, [3.35, 8.1], rtol=1e-6)
  for x in (short, long):
    clip = transforms.clip_steps(x, threshold=0.85)
    np.testing.assert_allclose(jnp.sum(clip), -0.2, rtol=1e-5)
    np.testing.assert_allclose(
        jnp.sum(transforms.delta_steps(x)), 0.9, rtol=1e-5
    )


def test_gradients_of_step_transforms_and_of_masked_entries():
  clip = lambda x: jnp.sum(transforms.clip_steps(x, MASK, threshold=0.85))
  np.testing.assert_array_equal(
      variants.grad(clip)(SCORES), [[0, 1, 0, 1, 0], [1, 0, 0, 0, 0]]
  )
  weights = jnp.array([[1.0, 2.0, 4.0, 8.0, 9.0]])
  delta = lambda x: jnp.sum(weights * transforms.delta_steps(x, MASK))
  # d r_k: its own weight less that of the step before; the last has none.
  np.testing.assert_array_equal(
      variants.grad(delta)(SCORES), [[1, 1, 2, 0, 0], [1, 0, 0, 0, 0]]
  )


@pytest.mark.parametrize("size", [1, 3])
def test_steps_at_the_edges(size):
  one = jnp.array([[0.7] + [NAN] * (size - 1)])
  mask = jnp.arange(size)[None] < 1
  np.testing.assert_array_equal(transforms.delta_steps(one, mask), 0.0)
  none = jnp.zeros_like(mask)
  np.testing.assert_array_equal(transforms.delta_steps(one, none), 0.0)
  clipped = transforms.clip_steps(one, none, threshold=0.9)
  np.testing.assert_array_equal(clipped, 0.0)


OUTCOME = jnp.array([0.5, 1.0])
STEPS = jnp.array([[1.5, 0.5, NAN], [2.0, -3.0, 4.0]])
STEP_MASK = jnp.array([[True, True, False], [True, True, True]])


@variants.every
@pytest.mark.parametrize(
    "threshold,expected",
    [
        (-np.inf, [2.5, 4.0]),  # direct accumulation
        (np.inf, [0.5, 1.0]),  # the outcome alone
        (1, [0.5, 4.0]),
        (0.5, [2.5, 4.0]),  # reached by equality
    ],
)
def test_gate_by_hand(variant, threshold, expected):
  gate = variant(transforms.gate)
  actual = gate(OUTCOME, STEPS, STEP_MASK, threshold=threshold)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_gate_passes_no_gradient_through_its_threshold():
  total = lambda o, s: jnp.sum(
      transforms.gate(o, s, STEP_MASK, threshold=1.0)
  )
  outcome, steps = variants.grad(total, (0, 1))(OUTCOME, STEPS)
  np.testing.assert_array_equal(outcome, 1.0)
  np.testing.assert_array_equal(steps, [[0, 0, 0], [1, 1, 1]])


@variants.every
def test_levels_count_down_to_the_first_that_fails(variant):
  levels = jnp.array([[1.0, 0.2, 5.0], [1.0, 0.5, 5.0]])
  call = variant(transforms.gate_levels)
  actual = call(levels, thresholds=jnp.array([1.0, 0.4]))
  np.testing.assert_allclose(actual, [1.2, 6.5], rtol=1e-6)
  closed = transforms.gate_levels(
      levels, thresholds=jnp.array([jnp.inf, -jnp.inf])
  )
  np.testing.assert_allclose(closed, [1.0, 1.0])


def test_two_levels_are_a_gate():
  total = jnp.sum(jnp.where(STEP_MASK, STEPS, 0.0), -1)
  levels = jnp.stack([OUTCOME, total], -1)
  actual = transforms.gate_levels(levels, thresholds=jnp.array([1.0]))
  expected = transforms.gate(OUTCOME, STEPS, STEP_MASK, threshold=1.0)
  np.testing.assert_allclose(actual, expected)


DISTANCES = jnp.array([0.0, 1.0, 2.0, 3.0, 5.0, -5.0])


@variants.every
def test_proximity_and_tiers_of_the_table(variant):
  scores = variant(transforms.gaussian_proximity)(DISTANCES, width=2.0)
  expected = [1, 0.8825, 0.6065, 0.3247, 0.0439, 0.0439]
  np.testing.assert_allclose(scores, expected, atol=5e-5)
  tiers = variant(transforms.quantize)(scores, num_tiers=4)
  np.testing.assert_array_equal(tiers, [1, 1, 0.75, 0.5, 0.25, 0.25])


def test_one_tier_is_a_pass_and_many_are_the_score():
  scores = jnp.array([0.0, 1e-6, 0.3, 1.0, 1.5, -1.0])
  one = transforms.quantize(scores, num_tiers=1)
  np.testing.assert_array_equal(one, [0, 1, 1, 1, 1, 0])
  many = transforms.quantize(scores[:4], num_tiers=10**6)
  np.testing.assert_allclose(many, scores[:4], atol=2e-6)


@pytest.mark.parametrize("num_tiers", [1, 3, 4, 10])
def test_tiers_keep_the_order(num_tiers):
  scores = jnp.linspace(0.0, 1.0, 101)
  tiers = transforms.quantize(scores, num_tiers=num_tiers)
  assert np.all(np.diff(tiers) >= 0)
  assert len(np.unique(tiers)) == num_tiers + 1


@variants.every
def test_progress_in_exact_integers(variant):
  matched = jnp.array([0, 1, 2, 3, 4, 4, 0, 9])
  total = jnp.array([4, 4, 4, 4, 4, 12, 0, 4])
  call = variant(transforms.progress_tiers)
  actual = call(matched, total, num_tiers=4)
  np.testing.assert_array_equal(
      actual, [0, 0.25, 0.5, 0.75, 1, 0.5, 0, 1]
  )
  # A third of 3 parts in 3 tiers is one tier, whatever 1 / 3 rounds to.
  thirds = transforms.progress_tiers(
      jnp.array([1, 2, 3]), jnp.array([3, 3, 3]), num_tiers=3
  )
  np.testing.assert_allclose(thirds, [1 / 3, 2 / 3, 1], rtol=1e-6)


@variants.every
def test_zones_by_hand(variant):
  scores = jnp.array([-1.0, 0.2, 0.5, 0.7, 1.0, 2.0])
  actual = variant(transforms.tier)(
      scores, edges=jnp.array([0.2, 0.7]), values=jnp.array([0.0, 1.0, 5.0])
  )
  np.testing.assert_array_equal(actual, [0, 1, 1, 5, 5, 5])


@variants.every
def test_calibrated_mix_reads_the_form_only_in_doubt(variant):
  scores, form = jnp.array([0.4, 0.5]), jnp.array([0.5, NAN])
  call = variant(transforms.calibrated_mix)
  actual = call(scores, form, threshold=0.5, weight=0.1)
  np.testing.assert_allclose(actual, [0.45, 0.5], rtol=1e-6)
  slope = variants.grad(
      lambda f: jnp.sum(
          transforms.calibrated_mix(scores, f, threshold=0.5, weight=0.1)
      )
  )(form)
  np.testing.assert_allclose(slope, [0.1, 0.0], rtol=1e-6)


def test_widens_bfloat16():
  low = jnp.ones((1, 3), jnp.bfloat16)
  assert transforms.delta_steps(low).dtype == jnp.float32
  assert transforms.clip_steps(low, threshold=0.5).dtype == jnp.float32
  assert transforms.gaussian_proximity(low, width=1.0).dtype == jnp.float32
  gate = transforms.gate(low[:, 0], low, threshold=0.0)
  assert gate.dtype == jnp.float32


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="clip_steps: expected one common"):
    transforms.clip_steps(SCORES, MASK[:, :3], threshold=0.0)
  with pytest.raises(ValueError, match="delta_steps: expected one common"):
    transforms.delta_steps(SCORES, MASK[:, :3])
  with pytest.raises(ValueError, match="'outcome': \\(3,\\)"):
    transforms.gate(jnp.ones(3), STEPS, threshold=0.0)
  with pytest.raises(ValueError, match="thresholds must be one fewer"):
    transforms.gate_levels(STEPS, thresholds=jnp.ones(3))
  with pytest.raises(ValueError, match="values must be one more"):
    transforms.tier(OUTCOME, edges=jnp.ones(2), values=jnp.ones(2))
  with pytest.raises(ValueError, match="num_tiers must be in"):
    transforms.quantize(OUTCOME, num_tiers=0)
  with pytest.raises(ValueError, match="width must be in"):
    transforms.gaussian_proximity(OUTCOME, width=0.0)
