import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.core import reduction
from rewardjax.objectives import policy_gradient as pg
from tests import variants

reduction = variants.programs(reduction)
pg = variants.programs(pg)

NAN = jnp.nan
BEHAVIOR = jnp.array([[-1.0, -2.0, -0.5, NAN], [-0.3, NAN, -1.0, NAN]])
MASK = jnp.array([[True, True, True, False], [True, False, True, False]])
# Log-ratios .1, .2, -.6 and .3, .1 on valid tokens.
DELTA = jnp.array([[0.1, 0.2, -0.6, NAN], [0.3, NAN, 0.1, NAN]])
LOG_PROBS = BEHAVIOR + DELTA
RATIOS = [pg.token_ratio, pg.sequence_ratio, pg.sequence_mean_ratio]
by_name = lambda f: getattr(f, "__name__", None)


@variants.every
@pytest.mark.parametrize(
    "function,expected",
    [
        (
            pg.token_ratio,
            np.exp([[0.1, 0.2, -0.6, 0.0], [0.3, 0.0, 0.1, 0.0]]),
        ),
        (pg.sequence_ratio, np.exp([[-0.3], [0.4]])),
        (pg.sequence_mean_ratio, np.exp([[-0.1] * 4, [0.2] * 4])),
    ],
    ids=by_name,
)
def test_ratios_by_hand(variant, function, expected):
  actual = variant(function)(LOG_PROBS, BEHAVIOR, MASK)
  np.testing.assert_allclose(actual, expected, rtol=2e-6)


@pytest.mark.parametrize("function", RATIOS, ids=by_name)
def test_ratio_is_one_at_the_sampling_policy(function):
  """Pain 10: TRL #4159 (first ratio 2.0), #6944, ms-swift #8442."""
  ratio = function(BEHAVIOR, BEHAVIOR, MASK)
  np.testing.assert_array_equal(ratio, 1.0)


@pytest.mark.parametrize("function", RATIOS, ids=by_name)
def test_ratio_gradients(function):
  total = lambda lp, mu: jnp.sum(function(lp, mu, MASK)[..., :1])
  first = variants.grad(total, argnums=(0, 1))(LOG_PROBS, BEHAVIOR)
  np.testing.assert_array_equal(first[1], 0.0)  # the behaviour is held
  assert np.all(np.isfinite(first[0]))
  np.testing.assert_array_equal(np.asarray(first[0])[~np.asarray(MASK)], 0.0)
  expected = {
      "token_ratio": [[np.exp(0.1), 0, 0, 0], [np.exp(0.3), 0, 0, 0]],
      "sequence_ratio": np.exp([[-0.3], [0.4]]) * np.asarray(MASK),
      "sequence_mean_ratio": [[np.exp(-0.1), 0, 0, 0], [np.exp(0.2), 0, 0, 0]],
  }[function.__name__]
  np.testing.assert_allclose(first[0], expected, rtol=2e-6)


@pytest.mark.parametrize("function", RATIOS, ids=by_name)
def test_ratios_are_bounded(function):
  far = jnp.array([[300.0, 300.0], [-300.0, -300.0]])
  ratio = function(far, jnp.zeros_like(far))
  np.testing.assert_allclose(ratio[:, 0], np.exp([20.0, -20.0]), rtol=1e-5)
  slope = variants.grad(lambda x: jnp.sum(function(x, jnp.zeros_like(x))))(far)
  assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("function", RATIOS, ids=by_name)
def test_ratio_with_nothing_valid_is_one(function):
  none = jnp.zeros_like(MASK)
  np.testing.assert_array_equal(function(LOG_PROBS, BEHAVIOR, none), 1.0)


def test_gspo_gradient_of_the_method_table():
  delta = jnp.array([[0.1, 0.2, -0.3, 0.4]])
  mask = jnp.ones(delta.shape, bool)
  zero = jnp.zeros_like(delta)

  def loss(log_probs):
    ratio = pg.sequence_mean_ratio(log_probs, zero, mask)
    losses = pg.clipped_surrogate(
        ratio, jnp.ones((1, 1)), clip_low=0.2, clip_high=0.2
    )
    return reduction.sequence_mean(losses, mask).value

  np.testing.assert_allclose(loss(delta), -1.1051709, rtol=1e-6)
  np.testing.assert_allclose(variants.grad(loss)(delta), -0.2762927, rtol=1e-6)
  whole = pg.sequence_ratio(delta, zero, mask)
  np.testing.assert_allclose(whole, 1.4918247, rtol=1e-6)


def test_gspo_per_token_equals_the_ratio_of_the_sequence():
  """Constant advantages: the straight-through form has the same gradient."""
  delta = jnp.where(MASK, DELTA, 0.0)
  zero, advantages = jnp.zeros_like(delta), jnp.array([[1.5], [-0.5]])

  def straight(log_probs):
    ratio = pg.sequence_mean_ratio(log_probs, zero, MASK)
    return reduction.sequence_mean(-ratio * advantages, MASK).value

  def whole(log_probs):
    lengths = jnp.sum(MASK, -1, keepdims=True)
    mean = jnp.sum(jnp.where(MASK, log_probs, 0.0), -1, keepdims=True) / lengths
    return jnp.mean(-jnp.exp(mean) * advantages)

  np.testing.assert_allclose(straight(delta), whole(delta), rtol=1e-6)
  np.testing.assert_allclose(
      variants.grad(straight)(delta), variants.grad(whole)(delta), rtol=1e-6
  )


# --- surrogates --------------------------------------------------------------


def _clipped_loss(log_ratio, advantage, dual):
  return pg.clipped_surrogate(
      jnp.exp(log_ratio),
      advantage,
      clip_low=0.2,
      clip_high=0.28,
      dual_clip=dual,
  )[0]


_clipped = variants.value_and_grad(_clipped_loss)


@pytest.mark.parametrize(
    "advantage,ratio,dual,loss,slope",
    [
        (1, 1.5, None, -1.28, 0),
        (1, 0.5, None, -0.5, -0.5),
        (-1, 0.5, None, 0.8, 0),
        (-1, 1.5, None, 1.5, 1.5),
        (-1, 5, None, 5, 5),
        (-1, 5, 3.0, 3, 0),
        (1, 5, 3.0, -1.28, 0),
        (-1, 1.5, 3.0, 1.5, 1.5),
        (1, 1.0, None, -1.0, -1.0),
        (0, 7.0, None, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_table(advantage, ratio, dual, loss, slope):
  value, gradient = _clipped(
      np.log([float(ratio)]), np.array([float(advantage)]), dual
  )
  np.testing.assert_allclose(value, loss, rtol=1e-6)
  np.testing.assert_allclose(gradient, [slope], rtol=1e-6)


SURROGATES = {
    "score": lambda lp, mu, a: pg.score_surrogate(lp, a),
    "clipped": lambda lp, mu, a: pg.clipped_surrogate(
        pg.token_ratio(lp, mu), a, clip_low=0.2, clip_high=0.28
    ),
    "dual": lambda lp, mu, a: pg.clipped_surrogate(
        pg.token_ratio(lp, mu), a, clip_low=0.2, clip_high=0.28, dual_clip=3.0
    ),
    "detached": lambda lp, mu, a: pg.detached_surrogate(
        pg.token_ratio(lp, mu), lp, a, low=0.8, high=1.28
    ),
    "soft_gate": lambda lp, mu, a: pg.soft_gate_surrogate(
        pg.token_ratio(lp, mu),
        a,
        temperature_positive=1.0,
        temperature_negative=1.05,
    ),
    "sequence_mean": lambda lp, mu, a: pg.clipped_surrogate(
        pg.sequence_mean_ratio(lp, mu), a, clip_low=3e-4, clip_high=4e-4
    ),
}
surrogate = pytest.mark.parametrize("surrogate", SURROGATES)


@surrogate
@pytest.mark.parametrize("per_token", [False, True])
def test_on_policy_all_surrogates_have_the_gradient_of_the_score(
    surrogate, per_token
):
  random = np.random.default_rng(0)
  log_probs = jnp.array(-random.random((3, 5)), jnp.float32)
  advantages = random.normal(size=(3, 5 if per_token else 1))
  advantages = jnp.array(advantages, jnp.float32)
  mask = jnp.array(random.random((3, 5)) < 0.8)
  loss = lambda lp: (
      reduction.sequence_mean(
          SURROGATES[surrogate](lp, log_probs, advantages), mask
      ).value
  )
  lengths = np.sum(mask, -1, keepdims=True)
  expected = np.where(mask, -advantages / lengths, 0.0) / 3
  slope = variants.grad(loss)(log_probs)
  np.testing.assert_allclose(slope, expected, rtol=2e-6)


@surrogate
def test_gradient_matches_finite_differences_and_data_is_held(surrogate):
  """Pain 16: mlx-lm-lora #68 (a loss whose gradient is identically zero)."""
  function = SURROGATES[surrogate]
  mu = jnp.array([[-1.0, -2.0, -0.5], [-0.3, -0.7, -1.0]])
  # Away from the kinks of every clip; the mean ratio stays inside its own.
  delta = jnp.array([[1e-4, 2e-4, -3e-4], [2e-4, -1e-4, 1e-4]])
  advantages = jnp.array([[1.0], [-2.0]])
  total = lambda *args: jnp.sum(function(*args))
  slopes = variants.grad(total, argnums=(0, 1, 2))(
      mu + delta, mu, advantages
  )
  assert np.all(np.abs(slopes[0]) > 0.1)
  np.testing.assert_array_equal(slopes[1], 0.0)
  np.testing.assert_array_equal(slopes[2], 0.0)


@pytest.mark.parametrize("name", ["score", "clipped", "dual", "soft_gate"])
def test_gradient_matches_finite_differences_off_policy(name):
  with jax.enable_x64(True):
    mu = jnp.array([[-1.0, -2.0, -0.5, -1.5], [-0.3, -0.7, -1.0, -0.2]])
    delta = jnp.array([[0.1, 0.5, -0.6, 2.0], [0.1, 0.5, -0.6, 2.0]])
    advantages = jnp.array([[1.3], [-0.7]])
    call = lambda lp: SURROGATES[name](jnp.asarray(lp), mu, advantages)
    check_grads(jax.jit(call), (mu + delta,), order=1, rtol=1e-6)


def test_detached_surrogate_by_hand():
  """Value -clip(r) A log p; the gradient -clip(r) A survives the clip."""
  log_probs = jnp.log(jnp.array([0.5, 0.1, 0.9]))
  ratio, advantages = jnp.array([5.0, 0.1, 1.1]), jnp.array([1.0, -1.0, 2.0])
  total = lambda r, lp, a: jnp.sum(
      pg.detached_surrogate(r, lp, a, low=0.8, high=1.28)
  )
  weights = np.array([1.28, -0.8, 2.2])
  value, slopes = variants.value_and_grad(total, argnums=(0, 1, 2))(
      ratio, log_probs, advantages
  )
  np.testing.assert_allclose(value, -np.sum(weights * log_probs), rtol=1e-6)
  np.testing.assert_allclose(slopes[1], -weights, rtol=1e-6)
  np.testing.assert_array_equal(slopes[0], 0.0)
  np.testing.assert_array_equal(slopes[2], 0.0)


def test_soft_gate_by_hand():
  ratio = jnp.array([1.0, 1.0, 2.0])
  advantages = jnp.array([1.0, -1.0, 1.0])
  call = functools.partial(
      pg.soft_gate_surrogate, temperature_positive=2.0, temperature_negative=4.0
  )
  gate = 2.0 / (1.0 + np.exp(-2.0))
  np.testing.assert_allclose(call(ratio, advantages), [-1.0, 0.5, -gate])
  slope = variants.grad(lambda r: jnp.sum(call(r, advantages)))(ratio)
  s = 1 / (1 + np.exp(-2.0))
  np.testing.assert_allclose(slope, [-1.0, 1.0, -4 * s * (1 - s)], rtol=1e-6)


@variants.every
def test_clip_fractions_count_only_stopped_gradients(variant):
  if variant is variants.vmapped:
    pytest.skip("Means are sums over what the function sees")
  ratio = jnp.array([[1.5, 0.5, 1.28, 9.0], [0.5, 0.79, 1.5, NAN]])
  advantages = jnp.array([[1.0], [-1.0]])
  mask = jnp.array([[True, True, True, False], [True, True, True, False]])
  fractions = variant(
      functools.partial(pg.clip_fractions, clip_low=0.2, clip_high=0.28)
  )(ratio, advantages, mask)
  np.testing.assert_allclose(fractions["clip_fraction_high"].value, 1 / 6)
  np.testing.assert_allclose(fractions["clip_fraction_low"].value, 2 / 6)
  # The same tokens as those without a slope.
  loss = lambda r: jnp.sum(
      jnp.where(
          mask,
          pg.clipped_surrogate(
              jnp.where(mask, r, 1.0), advantages, clip_low=0.2, clip_high=0.28
          ),
          0.0,
      )
  )
  stopped = jnp.sum((variants.grad(loss)(ratio) == 0) & mask)
  total = sum(mean.total for mean in fractions.values())
  assert stopped == total


def test_all_losses_are_float32_or_wider():
  half = jnp.full((2, 3), -0.5, jnp.bfloat16)
  for function in SURROGATES.values():
    assert function(half, half, half[:, :1]).dtype == jnp.float32


def test_equal_rewards_give_no_gradient():
  zero = jnp.zeros((2, 1))
  mu = jnp.array([[-1.0, -0.2], [-0.4, -3.0]])
  for function in SURROGATES.values():
    loss = lambda lp, f=function: jnp.sum(f(lp, mu, zero))
    np.testing.assert_array_equal(variants.grad(loss)(mu + 0.1), 0.0)


def test_names_bad_arguments(no_jaxtyping):
  ones, column = jnp.ones((2, 3)), jnp.ones((3, 1))
  clip = dict(clip_low=0.2, clip_high=0.2)
  with pytest.raises(ValueError, match="advantages must broadcast"):
    pg.clipped_surrogate(ones, column, **clip)
  with pytest.raises(ValueError, match="clip_low must be in"):
    pg.clipped_surrogate(ones, ones, clip_low=-0.1, clip_high=0.2)
  with pytest.raises(ValueError, match="dual_clip must be in"):
    pg.clipped_surrogate(ones, ones, **clip, dual_clip=1.0)
  with pytest.raises(ValueError, match="weights must broadcast"):
    pg.score_surrogate(ones, column)
  with pytest.raises(ValueError, match="'ratio': \\(2, 3\\), 'log_probs'"):
    pg.detached_surrogate(ones, column, ones, low=0.0, high=5.0)
  with pytest.raises(ValueError, match="temperature_positive must be in"):
    pg.soft_gate_surrogate(
        ones, ones, temperature_positive=0.0, temperature_negative=1.0
    )
  with pytest.raises(ValueError, match="token_ratio: .*'mask': \\(2, 2\\)"):
    pg.token_ratio(ones, ones, jnp.ones((2, 2), bool))
  with pytest.raises(ValueError, match="clip_fractions: advantages"):
    pg.clip_fractions(ones, column, ones > 0, **clip)
