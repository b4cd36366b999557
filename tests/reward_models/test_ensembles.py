import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rewardjax.core.masking import Mean
from rewardjax.reward_models import ensembles, fitting
from tests import variants

ensembles = variants.programs(ensembles)

NAN = jnp.nan
SCORES = jnp.array([[1.0, 2.0, NAN, 4.0, 5.0], [3.0, NAN, 3.0, NAN, NAN]])
MASK = ~jnp.isnan(SCORES)
RULES = {
    "mean": ensembles.mean,
    "median": ensembles.median,
    "worst_case": ensembles.worst_case,
    "uwo": functools.partial(ensembles.mean_minus_variance, coefficient=0.5),
    "sample": functools.partial(
        ensembles.mean_minus_variance, coefficient=0.5, ddof=1
    ),
    "std": ensembles.mean_minus_std,
}
every_rule = pytest.mark.parametrize("name", RULES)
EXPECTED = {
    "mean": 3.0,
    "median": 3.0,
    "worst_case": 1.0,
    "uwo": 1.75,
    "sample": 3 - 0.5 * 10 / 3,
    "std": 3 - np.sqrt(2.5),
}


@variants.every
@every_rule
def test_rules_by_hand(variant, name):
  actual = variant(RULES[name])(SCORES, MASK)
  # Of members that agree every rule makes the same.
  np.testing.assert_allclose(actual, [EXPECTED[name], 3.0], rtol=1e-6)


@every_rule
def test_one_member_is_every_rule_and_order_does_not_matter(name):
  one = jnp.array([[7.0], [-2.0]])
  np.testing.assert_allclose(RULES[name](one), one[:, 0])
  r = jax.random.normal(jax.random.key(0), (6, 5))
  a, b = RULES[name](r), RULES[name](r[:, ::-1])
  np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  assert np.all(a <= ensembles.mean(r) + 1e-6) or name == "median"


@every_rule
def test_gradients_are_finite_and_masked_members_have_none(name):
  slope = variants.grad(lambda r: jnp.sum(RULES[name](r, MASK)))(SCORES)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[~MASK], 0.0)
  # A constant added to all members comes out once.
  np.testing.assert_allclose(jnp.sum(slope, -1), [1.0, 1.0], rtol=1e-5)
  nothing = jnp.zeros_like(MASK)
  np.testing.assert_array_equal(RULES[name](SCORES, nothing), 0.0)


def test_median_of_even_and_odd():
  r = jnp.array([[5.0, 1.0, 2.0, 9.0], [5.0, 1.0, 2.0, NAN]])
  np.testing.assert_allclose(
      ensembles.median(r, ~jnp.isnan(r)), [3.5, 2.0]
  )


def test_worst_case_of_infinite_scores():
  r = jnp.array([[-jnp.inf, 1.0]])
  np.testing.assert_array_equal(ensembles.worst_case(r), [-jnp.inf])


def test_a_coefficient_of_zero_is_the_mean():
  r = SCORES[:1, :2]
  for rule in (ensembles.mean_minus_variance, ensembles.mean_minus_std):
    np.testing.assert_array_equal(rule(r, coefficient=0.0), [1.5])


@variants.every
def test_weighted_by_hand(variant):
  weights = jnp.array([1.0, 0.0, 5.0, 2.0, 1.0])
  rule = lambda r, m: ensembles.weighted(r, weights, m)
  actual = variant(rule)(SCORES, MASK)
  np.testing.assert_allclose(actual, [(1 + 8 + 5) / 4, 3.0], rtol=1e-6)


def test_a_spread_too_small_to_square_has_no_gradient():
  r = jnp.array([[0.0, 1e-30, -1e-30]])
  value, slope = variants.value_and_grad(
      lambda r: ensembles.mean_minus_std(r)[0]
  )(r)
  assert abs(value) < 1e-30
  np.testing.assert_allclose(slope, 1 / 3, rtol=1e-6)


def test_bfloat16_scores_are_read_in_float32():
  r = jnp.arange(300, dtype=jnp.bfloat16)[None]
  wide = np.asarray(r, np.float64)
  np.testing.assert_allclose(ensembles.mean(r), wide.mean(-1), rtol=1e-6)
  np.testing.assert_allclose(
      ensembles.mean_minus_std(r), wide.mean(-1) - wide.std(-1), rtol=1e-4
  )


def test_standardized_members_are_comparable():
  """Of members that differ in offset and scale only, all rules agree."""
  x = jax.random.normal(jax.random.key(0), (50, 1))
  r = x * jnp.array([[1.0, 10.0, 0.1]]) + jnp.array([[0.0, -40.0, 7.0]])
  # Unstandardised, the minimum reads the second member alone.
  np.testing.assert_allclose(ensembles.worst_case(r), r[:, 1])
  scale = ensembles.fit_scale(r)
  z = ensembles.standardize(r, scale)
  np.testing.assert_allclose(
      ensembles.worst_case(z), ensembles.mean(z), atol=1e-4
  )
  np.testing.assert_allclose(jnp.mean(z, 0), 0.0, atol=1e-5)


def test_scale_of_masked_and_constant_references():
  r = jnp.array([[1.0, NAN], [3.0, 5.0], [NAN, 5.0]])
  scale = ensembles.fit_scale(r, ~jnp.isnan(r))
  np.testing.assert_allclose(scale.mean, [2.0, 5.0])
  np.testing.assert_allclose(scale.std, [1.0, 0.0])
  z = ensembles.standardize(jnp.array([4.0, 6.0]), scale)
  np.testing.assert_allclose(z, [2.0, 1.0])


@variants.every
def test_preference_strength_by_hand(variant):
  strength = variant(ensembles.preference_strength)(SCORES, MASK)
  np.testing.assert_allclose(strength.mean, [3.0, 3.0])
  np.testing.assert_allclose(strength.std, [np.sqrt(2.5), 0.0], rtol=1e-6)
  slope = variants.grad(
      lambda r: jnp.sum(ensembles.preference_strength(r, MASK).std)
  )(SCORES)
  assert np.all(np.isfinite(slope))


X = jnp.linspace(-1, 1, 8)[:, None] * jnp.array([[1.0, -0.5]])
DATA = {"x": X, "y": jnp.sin(3 * X[:, 0])}


def init(key):
  a, b = jax.random.split(key)
  return {
      "encoder": jax.random.normal(a, (2, 4)),
      "head": jax.random.normal(b, (4,)),
  }


def apply(params, x):
  return jnp.tanh(x @ params["encoder"]) @ params["head"]


def loss_fn(params, batch, key):
  del key
  return Mean.of(jnp.square(apply(params, batch["x"]) - batch["y"]))


train = functools.partial(
    fitting.fit,
    loss_fn=loss_fn,
    data=DATA,
    optimizer=optax.adam(1e-2),
    num_steps=12,
    batch_size=4,
)


def test_members_learn_as_if_alone():
  """Pain 20 (imitation #482): the loss was divided by the member count."""
  key = jax.random.key(5)
  fitted = ensembles.fit(key, init, train, num_members=3)
  init_key, train_key = jax.random.split(key)
  train_alone = jax.jit(train)
  for e in range(3):
    start = init(jax.random.fold_in(init_key, e))
    alone = train_alone(jax.random.fold_in(train_key, e), start)
    for a, b in zip(jax.tree.leaves(fitted), jax.tree.leaves(alone)):
      np.testing.assert_allclose(a[e], b, rtol=1e-4, atol=1e-6)
  scores = ensembles.predict(apply, fitted.params, X)
  assert scores.shape == (8, 3)
  np.testing.assert_allclose(
      scores[:, 2], apply(alone.params, X), rtol=1e-4, atol=1e-5
  )


def test_more_members_leave_the_first_ones_alone():
  few = ensembles.init_members(jax.random.key(0), init, num_members=2)
  many = ensembles.init_members(jax.random.key(0), init, num_members=5)
  jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(x, y[:2]), few, many
  )


def test_shared_parts_start_equal_and_the_rest_does_not():
  share = lambda path: path.startswith("encoder")
  key = jax.random.key(0)
  params = ensembles.init_members(key, init, num_members=3, share=share)
  encoder, head = params["encoder"], params["head"]
  np.testing.assert_array_equal(encoder[0], encoder[2])
  assert np.all(head[0] != head[2])
  plain = ensembles.init_members(key, init, num_members=3)
  np.testing.assert_array_equal(plain["head"], head)
  assert np.all(plain["encoder"][0] != plain["encoder"][2])
  fitted = ensembles.fit(key, init, train, num_members=2, share=share)
  assert np.any(fitted.params["encoder"][0] != fitted.params["encoder"][1])


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="coefficient must be in \\[0, inf\\]"):
    ensembles.mean_minus_std(SCORES, coefficient=-1.0)
  with pytest.raises(ValueError, match="weights must be \\[M\\]"):
    ensembles.weighted(SCORES, jnp.ones(2))
  with pytest.raises(ValueError, match="share must accept some path"):
    ensembles.init_members(
        jax.random.key(0), init, num_members=2, share=lambda path: False
    )
  with pytest.raises(ValueError, match="num_members must be in"):
    ensembles.member_keys(jax.random.key(0), 0)
