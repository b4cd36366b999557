import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.objectives import low_probability as lp
from rewardjax.objectives import policy_gradient as pg
from rewardjax.policies import laws, log_probs
from rewardjax.policies.laws import SamplingLaw
from tests import variants

lp = variants.programs(lp)
pg = variants.programs(pg)

NAN, INF = jnp.nan, jnp.inf
POLICY = np.array([0.60, 0.25, 0.08, 0.04, 0.02, 0.006, 0.004])
PROXY = [0.606061, 0.252525, 0.080808, 0.040404, 0.020202, 0, 0]
CLIPS = dict(clip_low=1.0, clip_high=9.0)


def test_the_proxy_by_hand():
  """Kept from 0.012 on; the same from logits and from the chunked scorer."""
  law, logits = SamplingLaw(min_p=0.02), jnp.log(jnp.array(POLICY))
  proxy = laws.law_logits(law, logits)
  np.testing.assert_allclose(jnp.exp(proxy), PROXY, atol=1e-6)
  np.testing.assert_array_equal(np.isneginf(proxy), np.array(PROXY) == 0)
  tokens = jnp.arange(7)
  features = jnp.broadcast_to(logits, (7, 7))
  scores = log_probs.score_features(features, jnp.eye(7), tokens, law=law)
  np.testing.assert_allclose(scores.log_probs, proxy, rtol=1e-5)


def test_at_the_sampling_policy_the_push_is_the_dropped_mass():
  logits = jnp.log(jnp.array(POLICY))
  proxy = laws.law_logits(SamplingLaw(min_p=0.02), logits)
  protected = lp.below_proxy(logits, proxy, jnp.ones(7, bool))
  np.testing.assert_array_equal(protected, np.array(PROXY) > 0)

  def loss(log_probs):
    ratio = pg.token_ratio(log_probs, logits)
    losses = lp.protected_surrogate(
        ratio, log_probs, proxy, jnp.zeros(7), protected, **CLIPS
    )
    return jnp.sum(losses)

  slope = variants.grad(loss)(logits)
  # -m / (1 - m) with m = 0.01, on every kept token alike.
  np.testing.assert_allclose(slope[:5], -0.010101, atol=1e-6)
  np.testing.assert_array_equal(slope[5:], 0)


@pytest.mark.parametrize(
    "coefficient, expected", [(1.0, 0.622542), (3.0, 0.7979), (0.1, 0.2717)]
)
def test_the_slope_changes_sign_where_the_docstring_says(coefficient, expected):
  scale = 1 / 0.99
  root = (-coefficient + np.sqrt(coefficient**2 + 4 * coefficient * scale)) / 2
  np.testing.assert_allclose(root, expected, atol=5e-5)
  true = jnp.array([True])

  @jax.jit
  def slope(ratio):
    behavior, proxy = jnp.array([-4.0]), jnp.array([-4.0 + np.log(scale)])

    def loss(log_probs):
      return lp.protected_surrogate(
          pg.token_ratio(log_probs, behavior), log_probs, proxy,
          jnp.array([-1.0]), true, coefficient=coefficient, **CLIPS,
      )[0]

    return jax.grad(loss)(behavior + jnp.log(ratio))[0]

  assert abs(slope(root)) < 1e-6
  assert slope(root - 0.01) < 0 < slope(root + 0.01)


@pytest.mark.parametrize("coefficient", [1.0, 3.0, 0.1])
def test_a_rare_token_comes_to_rest_on_one_batch(coefficient):
  """200 steps on one batch that holds the rare token once, with A = -1."""
  logits = jnp.log(jnp.array(POLICY))
  token, behavior = 4, jnp.log(jnp.array([0.02]))
  proxy = laws.law_logits(SamplingLaw(min_p=0.02), logits)[token][None]

  def loss(logits, protect):
    log_prob = jax.nn.log_softmax(logits)[token][None]
    protected = lp.below_proxy(log_prob, proxy, jnp.array([protect]))
    return lp.protected_surrogate(
        pg.token_ratio(log_prob, behavior), log_prob, proxy,
        jnp.array([-1.0]), protected, coefficient=coefficient, **CLIPS,
    )[0]

  @jax.jit
  def last_ratio(protect):
    step = lambda z, _: (z - 0.3 * jax.grad(loss)(z, protect), None)
    last, _ = jax.lax.scan(step, logits, length=200)
    return jax.nn.softmax(last)[token] / 0.02

  scale = 1 / 0.99
  root = (-coefficient + np.sqrt(coefficient**2 + 4 * coefficient * scale)) / 2
  np.testing.assert_allclose(last_ratio(True), root, rtol=1e-3)
  assert last_ratio(False) < 0.05


def test_only_a_frozen_proxy_is_a_floor_from_batch_to_batch():
  """A step a batch, the rare token punished in each.

  Against a frozen q the slope 1 + b (1 - q / p) vanishes at p = b q / (1 + b).
  The sampler's own proxy asks for 1 / 0.99 of what is left, and sinks with it.
  """
  law, start = SamplingLaw(min_p=0.02), jnp.log(jnp.array(POLICY))
  token = 4
  frozen = laws.law_logits(law, start)[token][None]

  def step(logits, is_frozen):
    behavior = jax.nn.log_softmax(logits)[token][None]
    own = laws.law_logits(law, logits)[token][None]
    proxy = jnp.where(is_frozen, frozen, own)

    def loss(logits):
      log_prob = jax.nn.log_softmax(logits)[token][None]
      protected = lp.below_proxy(log_prob, proxy, jnp.array([True]))
      return lp.protected_surrogate(
          pg.token_ratio(log_prob, behavior), log_prob, proxy,
          jnp.array([-1.0]), protected, **CLIPS,
      )[0]

    return logits - 0.1 * jax.grad(loss)(logits)

  @jax.jit
  def last(is_frozen):
    body = lambda logits, _: (step(logits, is_frozen), None)
    return jax.nn.softmax(jax.lax.scan(body, start, length=300)[0])[token]

  floor = 0.5 * jnp.exp(frozen[0])
  np.testing.assert_allclose(last(True), floor, rtol=1e-3)
  assert last(False) < 0.01 * floor


@variants.every
def test_protected_surrogate_by_hand(variant):
  ratio = jnp.array([[0.5, 0.5, 12.0], [2.0, 1.0, 1.0]])
  log_probs = jnp.array([[-3.0, -3.0, -1.0], [-2.0, -5.0, NAN]])
  proxy = jnp.array([[-2.0, -INF, NAN], [-2.5, -4.0, NAN]])
  advantages = jnp.array([[-1.0, -1.0, 2.0], [-1.0, -2.0, 0.5]])
  protected = jnp.array([[True, False, False], [True, True, False]])
  call = functools.partial(
      lp.protected_surrogate, coefficient=0.1, clip_low=0.2, clip_high=9.0
  )
  actual = variant(call)(ratio, log_probs, proxy, advantages, protected)
  k3 = lambda d: np.exp(d) - 1 - d
  expected = [
      [0.5 + 0.1 * k3(1.0), 0.8, -20.0],
      [2.0 + 0.1 * k3(-0.5), 2.0 + 0.1 * k3(1.0), -0.5],
  ]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_protected_surrogate_gradients():
  log_probs = jnp.array([-3.0, -30.0, -1.0, -2.0])
  proxy = jnp.array([-2.0, -0.1, -INF, NAN])
  protected = jnp.array([True, True, False, False])
  advantages = jnp.array([-1.0, -1.0, 1.0, -1.0])

  def total(log_probs, proxy, advantages, behavior):
    ratio = pg.token_ratio(log_probs, behavior)
    return jnp.sum(
        lp.protected_surrogate(
            ratio, log_probs, proxy, advantages, protected, **CLIPS
        )
    )

  args = (log_probs, proxy, advantages, log_probs)
  first, *held = variants.grad(total, argnums=(0, 1, 2, 3))(*args)
  # A far proxy: linear beyond 20 nats, never infinite.
  expected = [1 + 1 - np.exp(1.0), 1 + 1.0, -1, 1]
  np.testing.assert_allclose(first, expected, rtol=1e-5)
  for slope in held:
    np.testing.assert_array_equal(slope, 0)


def test_no_coefficient_is_the_clipped_loss_but_for_the_clip():
  random = np.random.default_rng(0)
  ratio = jnp.array(np.exp(random.normal(size=60)))
  advantages = jnp.array(random.normal(size=60))
  zeros = jnp.zeros(60)
  call = functools.partial(
      lp.protected_surrogate, ratio, zeros, zeros, advantages,
      coefficient=0.0, clip_low=0.2, clip_high=0.3,
  )
  clipped = pg.clipped_surrogate(ratio, advantages, clip_low=0.2, clip_high=0.3)
  np.testing.assert_array_equal(call(jnp.zeros(60, bool)), clipped)
  np.testing.assert_array_equal(call(jnp.ones(60, bool)), -advantages * ratio)


@variants.every
@pytest.mark.parametrize("fraction, count", [(0.0, 0), (0.01, 1), (0.5, 3)])
def test_lowest_tokens_by_hand(variant, fraction, count):
  """Two equal rows: each marks its share, together or mapped apart."""
  x = jnp.array([-1.0, -INF, NAN, -3.0, -2.0, -0.5, NAN, -4.0])
  mask = jnp.array([True, True, False, True, True, True, False, True])
  rows = lambda x: jnp.stack([x, x])[:, None]
  lowest = lambda x, m: lp.lowest_tokens(x, m, fraction=fraction)
  actual = variant(lowest)(rows(x), rows(mask))
  expected = np.isin(np.arange(8), [1, 7, 3, 4, 0, 5][:count])
  np.testing.assert_array_equal(actual, rows(jnp.array(expected)))


def test_lowest_tokens_edges():
  x = jnp.array([[-1.0, -2.0], [-3.0, -2.0]])
  lowest = functools.partial(lp.lowest_tokens, x)
  assert not jnp.any(lowest(jnp.zeros((2, 2), bool), fraction=1.0))
  assert jnp.all(lowest(fraction=1.0))
  # Ties are marked alike.
  expected = [[False, True], [True, True]]
  np.testing.assert_array_equal(lowest(fraction=0.5), expected)
  traced = jax.jit(lambda f: lowest(fraction=f))
  np.testing.assert_array_equal(traced(0.5), expected)
  assert not jnp.any(traced(0.0))


def test_below_proxy_never_takes_what_the_filter_dropped():
  log_probs = jnp.array([-3.0, -3.0, -3.0, -3.0, -3.0, NAN])
  proxy = jnp.array([-2.9, -INF, -1e4, -3.0, -2.0, NAN])
  marked = jnp.array([True, True, True, True, False, True])
  actual = lp.below_proxy(log_probs, proxy, marked)
  np.testing.assert_array_equal(actual, [True] + [False] * 5)


def test_errors(no_jaxtyping):
  x, yes = jnp.ones(2), jnp.ones(2, bool)
  with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\]"):
    lp.lowest_tokens(x, fraction=1.1)
  with pytest.raises(ValueError, match=r"below_proxy: .*'marked': \(3,\)"):
    lp.below_proxy(x, x, jnp.ones(3, bool))
  with pytest.raises(ValueError, match="coefficient must be in"):
    lp.protected_surrogate(x, x, x, x, yes, coefficient=-1.0, **CLIPS)
  with pytest.raises(ValueError, match=r"'protected': \(3,\)"):
    lp.protected_surrogate(x, x, x, x, jnp.ones(3, bool), **CLIPS)
