import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.policies import laws
from rewardjax.policies.laws import SamplingLaw
from tests import variants

PROBABILITIES = np.array([[0.5, 0.05, 0.15, 0.3], [0.1, 0.2, 0.3, 0.4]])
# A shift changes nothing.
LOGITS = jnp.array(np.log(PROBABILITIES) + 7.0, jnp.float32)
# One program a law and shape.
law_logits = jax.jit(laws.law_logits, static_argnums=0)
inverse_cdf = jax.jit(laws.inverse_cdf, static_argnames="block")
BY_HAND = [
    (SamplingLaw(), PROBABILITIES),
    (
        SamplingLaw(0.5),  # squares, normalised
        PROBABILITIES**2 / [[0.365], [0.3]],
    ),
    (SamplingLaw(1.0, 2), [[0.625, 0, 0, 0.375], [0, 0, 3 / 7, 4 / 7]]),
    # 0.5 + 0.3 reaches 0.7, 0.4 + 0.3 does as well (0.7 up to rounding).
    (
        SamplingLaw(1.0, 0, 0.69),
        [[0.625, 0, 0, 0.375], [0, 0, 3 / 7, 4 / 7]],
    ),
    # Of the top two, 0.625 reaches 0.6 alone; 4/7 does not.
    (SamplingLaw(1.0, 2, 0.6), [[1, 0, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
    (SamplingLaw(0), [[1, 0, 0, 0], [0, 0, 0, 1]]),
    # At least 0.28 of the most likely: 0.14 of 0.5, 0.112 of 0.4.
    (
        SamplingLaw(min_p=0.28),
        np.array([[0.5, 0, 0.15, 0.3], [0, 0.2, 0.3, 0.4]]) / [[0.95], [0.9]],
    ),
    # The stricter of the two counts: here one, there the other.
    (SamplingLaw(1.0, 1, 1.0, 0.1), [[1, 0, 0, 0], [0, 0, 0, 1]]),
    (SamplingLaw(1.0, 2, 1.0, 0.8), [[1, 0, 0, 0], [0, 0, 0, 1]]),
]


@variants.every
@pytest.mark.parametrize("law, expected", BY_HAND)
def test_law_logits_by_hand(variant, law, expected):
  actual = variant(lambda x: laws.law_logits(law, x))(LOGITS)
  np.testing.assert_allclose(np.exp(actual), expected, atol=1e-6)
  outside = np.asarray(expected) == 0
  np.testing.assert_array_equal(np.isneginf(actual), outside)


def sorted_reference(logits, law):
  """By sorting, one row at a time, in float64."""
  scaled = np.asarray(logits, np.float64) / law.temperature
  kept = np.ones(len(scaled), bool)
  if law.top_k:
    kept &= scaled >= np.sort(scaled)[-min(law.top_k, len(scaled))]
  p = np.where(kept, np.exp(scaled - scaled.max()), 0)
  p /= p.sum()
  if law.top_p < 1:
    order = np.argsort(-p)
    last = order[np.searchsorted(np.cumsum(p[order]), law.top_p)]
    kept &= scaled >= scaled[last]
  kept &= p >= law.min_p * p.max()
  p = np.where(kept, p, 0)
  with np.errstate(divide="ignore"):
    return np.log(p / p.sum())


@pytest.mark.parametrize("top_k", [0, 1, 7, 500])
def test_law_logits_equal_a_float64_reference_that_sorts(top_k):
  pairs = [(1, 0), (0.9, 0), (0.3, 0), (1e-6, 0), (1, 0.02), (0.9, 0.3)]
  options = [SamplingLaw(0.8, top_k, *map(float, pair)) for pair in pairs]
  draw = np.random.default_rng(top_k).normal
  logits = 3 * draw(size=(6, 301)).astype(np.float32)
  every = jax.jit(lambda x: [laws.law_logits(law, x) for law in options])
  for law, actual in zip(options, every(logits)):
    expected = np.stack([sorted_reference(row, law) for row in logits])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_traced_parameters_give_what_python_numbers_give():
  traced = jax.jit(
      lambda t, p, m: laws.law_logits(SamplingLaw(t, 0, p, m), LOGITS)
  )
  for law in (
      SamplingLaw(0.7, 0, 0.6),
      SamplingLaw(1.0, 0, 1.0),
      SamplingLaw(1.2, 0, 0.95, 0.5),
  ):
    np.testing.assert_allclose(
        traced(law.temperature, law.top_p, law.min_p),
        law_logits(law, LOGITS),
        rtol=1e-6,
    )


def test_tokens_that_tie_with_the_last_kept_one_are_kept():
  logits = np.array([1.0, 2.0, 1.0, 0.0])
  for law in (SamplingLaw(1.0, 2), SamplingLaw(1.0, 0, 0.7)):
    kept = np.isfinite(law_logits(law, logits))
    np.testing.assert_array_equal(kept, [True, True, True, False])


def test_a_greedy_law_gives_ties_to_the_first_token():
  actual = law_logits(SamplingLaw(0), np.array([0.0, 3.0, 3.0]))
  np.testing.assert_array_equal(actual, [-np.inf, 0.0, -np.inf])


def test_excluded_logits_may_be_minus_infinity():
  logits = np.array([-np.inf, 0.0, 0.0, -1.0])
  for law in (
      SamplingLaw(),
      SamplingLaw(1.0, 3),
      SamplingLaw(1.0, 0, 0.99),
      SamplingLaw(min_p=1e-9),
  ):
    log_p = np.asarray(law_logits(law, logits))
    assert np.isneginf(log_p[0]) and np.isclose(np.exp(log_p).sum(), 1.0)


@pytest.mark.parametrize(
    "values", [[-0.0, 0.0, -1.0], [3.0, -2.5, 1e-40, -1e30], [5.0, 5.0]]
)
def test_the_bisected_quantile_is_the_kth_largest_value(values):
  values = np.array(values, np.float32)
  find = jax.jit(
      lambda x: [
          laws._quantile(x, jnp.ones_like(x), k + 1) for k in range(len(x))
      ]
  )
  np.testing.assert_array_equal(find(values), np.sort(values)[::-1])


@pytest.mark.parametrize(
    "law",
    [
        SamplingLaw(0.7),
        SamplingLaw(0.7, 3),
        SamplingLaw(1.0, 0, 0.85),
        SamplingLaw(min_p=0.28),
    ],
)
def test_gradients_of_kept_entries(law):
  """The kept set is constant, so small steps see the whole derivative."""
  kept = np.isfinite(law_logits(law, LOGITS))
  finite = jax.jit(lambda x: jnp.where(kept, laws.law_logits(law, x), 0.0))
  check_grads(finite, (LOGITS,), order=1, modes=["rev"], eps=1e-3)


def test_excluded_entries_and_greedy_laws_have_gradient_zero():
  law = SamplingLaw(1.0, 2)
  slopes = jax.jit(jax.jacrev(lambda x: laws.law_logits(law, x)[0]))(LOGITS)
  np.testing.assert_array_equal(slopes[1], np.zeros_like(LOGITS))
  slope = np.asarray(slopes[0, 0])
  np.testing.assert_allclose(slope, [1 - 0.625, 0, 0, -0.375], rtol=1e-5)
  greedy = lambda x: jnp.sum(jnp.where(x > 8, 1.0, 0.0)) + jnp.max(
      laws.law_logits(SamplingLaw(0), x)
  )
  np.testing.assert_array_equal(
      jax.jit(jax.grad(greedy))(LOGITS), np.zeros_like(LOGITS)
  )


def test_law_logits_widen_bfloat16():
  logits = np.asarray(LOGITS).astype(jnp.bfloat16)
  actual = law_logits(SamplingLaw(0.5), logits)
  assert actual.dtype == np.float32
  expected = sorted_reference(logits[0], SamplingLaw(0.5))
  np.testing.assert_allclose(np.asarray(actual)[0], expected, rtol=1e-5)


BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1


@variants.every
def test_inverse_cdf_by_hand(variant):
  """Blocks of two tokens hold 3/4 and 1/4; inside they hold 2:1 and 1:1."""
  log_probs = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
  uniforms = np.array(
      [
          [0.0, 0.0],
          [0.74, 0.66],
          [0.74, 0.67],
          [0.76, 0.0],
          [0.76, 0.49],
          [BELOW_ONE, 0.51],
          [BELOW_ONE, BELOW_ONE],
          [0.0, BELOW_ONE],
      ],
      np.float32,
  )
  rows = np.tile(log_probs, (8, 1))
  draw = lambda log_p, u: laws.inverse_cdf(log_p, u, block=2)
  actual = variant(draw)(jnp.asarray(rows), jnp.asarray(uniforms))
  np.testing.assert_array_equal(actual, [0, 0, 1, 2, 2, 3, 3, 1])


def test_inverse_cdf_gives_every_token_its_share_of_the_unit_square():
  p = np.array([4, 0, 1, 3, 2, 2, 0, 2, 2]) / 16
  grid = (np.arange(64) + 0.5) / 64
  uniforms = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)
  with np.errstate(divide="ignore"):
    log_p = np.broadcast_to(np.log(p.astype(np.float32)), (64, 64, 9))
  drawn = inverse_cdf(log_p, uniforms.astype(np.float32), block=4)
  share = np.bincount(np.ravel(drawn), minlength=9) / 64**2
  # A block boundary can cut a cell: at most one row of cells a boundary.
  np.testing.assert_allclose(share, p, atol=1 / 64)
  np.testing.assert_array_equal(share[p == 0], 0)


@pytest.mark.parametrize("size", [3, 128, 259, 1000])
def test_inverse_cdf_never_returns_an_excluded_token(size):
  """At the ends of the unit interval too, where running sums round."""
  draw = np.random.default_rng(size).normal
  logits = 4 * draw(size=(20, 1, size)).astype(np.float32)
  ends = np.array([0.0, 1e-7, 0.5, BELOW_ONE], np.float32)
  uniforms = np.stack(np.meshgrid(ends, ends), -1).reshape(1, 16, 2)
  uniforms = np.broadcast_to(uniforms, (20, 16, 2))

  @jax.jit
  def draw_all(logits, uniforms):
    log_p = laws.law_logits(SamplingLaw(1.0, 0, 0.5), logits)
    log_p = jnp.broadcast_to(log_p, (20, 16, size))
    return log_p, laws.inverse_cdf(log_p, uniforms)

  log_p, drawn = map(np.asarray, draw_all(logits, uniforms))
  chosen = np.take_along_axis(log_p, drawn[..., None], -1)
  assert np.all(np.isfinite(chosen))


def test_inverse_cdf_survives_running_sums_that_rise_where_mass_is_zero():
  """Sums over more than 128 blocks are tree-shaped and round unevenly."""
  random = np.random.default_rng(0)
  mass = random.random((500, 384), np.float32)
  mass = np.where(random.random(mass.shape) < 0.5, np.float32(0), mass)

  @jax.jit
  def sums(mass):
    log_p = jnp.log(mass / jnp.sum(mass, axis=-1, keepdims=True))
    return log_p, jnp.cumsum(jnp.exp(log_p), axis=-1)

  log_p, running = map(np.asarray, sums(mass))
  rises = (np.diff(running) > 0) & np.isneginf(log_p[:, 1:])
  rows, columns = np.nonzero(rises)
  assert rows.size, "the trap is gone: so may be the guard against it"
  # Just above the sum before the rise.
  u = (running[rows, columns] / running[rows, -1])[:, None]
  u = np.concatenate([u, np.zeros_like(u)], axis=-1)
  drawn = np.asarray(inverse_cdf(log_p[rows], u, block=1))
  chosen = np.take_along_axis(log_p[rows], drawn[:, None], -1)
  assert np.all(np.isfinite(chosen))


def test_inverse_cdf_beyond_the_last_sum_gives_a_kept_token():
  """The product uniform * total may round up to the total itself."""
  with np.errstate(divide="ignore"):
    log_p = np.log(np.array([[0.2, 0.5, 0.3, 0.0, 0.0]], np.float32))
  drawn = inverse_cdf(log_p, np.ones((1, 2), np.float32), block=2)
  assert np.isfinite(log_p[0, drawn[0]])


def test_inverse_cdf_draws_tokens_rarer_than_a_float32_digit():
  """Half the mass is spread over tokens of 1e-8 each, behind a big one.

  A running sum that starts at 0.5 has digits of 6e-8 and loses them all.
  """
  size = 2**17
  p = np.full((size,), 0.01 / (size - 1), np.float32)
  p[0] = 0.99
  uniforms = np.stack([np.full(256, 0.995), np.arange(256) / 256], -1)
  draw = jax.jit(
      lambda log_p, u: laws.inverse_cdf(
          jnp.broadcast_to(log_p, (256, size)), u
      )
  )
  drawn = np.asarray(draw(np.log(p), uniforms.astype(np.float32)))
  # The middle block, and in it every token twice.
  assert abs(drawn[0] / size - 0.5) < 0.01
  np.testing.assert_array_equal(np.diff(drawn[::2]), 1)


@pytest.mark.parametrize(
    "law, message",
    [
        (SamplingLaw(-1.0), "temperature must be in .0, inf"),
        (SamplingLaw(1.0, -1), "top_k must be in .0, inf"),
        (SamplingLaw(1.0, 0, 0.0), r"top_p must be in \(0, 1\]"),
        (SamplingLaw(1.0, 0, 1.5), r"top_p must be in \(0, 1\]"),
        (SamplingLaw(min_p=1.1), r"min_p must be in \[0, 1\]"),
    ],
)
def test_laws_without_meaning_are_refused(law, message):
  with pytest.raises(ValueError, match=f"law_logits: {message}"):
    laws.law_logits(law, LOGITS)
