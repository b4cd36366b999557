import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import heads, pooling
from tests import variants

NAN = jnp.nan
FEATURES = jnp.array(
    [
        [[1.0, 0.0], [2.0, 5.0], [NAN, NAN]],
        [[NAN, NAN], [0.0, 3.0], [4.0, 1.0]],
    ]
)
MASK = jnp.array([[True, True, False], [False, True, True]])
LINEAR = {"params": {"Dense_0": {"kernel": jnp.array([[1.0], [10.0]])}}}
LINEAR["params"]["Dense_0"]["bias"] = jnp.array([0.5])


@variants.every
def test_reward_head_reads_the_last_valid_position(variant):
  reward = lambda f, m: heads.RewardHead().apply(LINEAR, f, m)
  actual = variant(reward)(FEATURES, MASK)
  np.testing.assert_allclose(actual, [2 + 50 + 0.5, 4 + 10 + 0.5])


@variants.every
def test_value_head_reads_every_position(variant):
  value = lambda f, m: heads.ValueHead().apply(LINEAR, f, m)
  actual = variant(value)(FEATURES, MASK)
  np.testing.assert_allclose(actual, [[1.5, 52.5, 0], [0, 30.5, 14.5]])


def test_value_head_without_a_mask():
  clean = jnp.nan_to_num(FEATURES)
  actual = heads.ValueHead().apply(LINEAR, clean)
  np.testing.assert_allclose(actual, [[1.5, 52.5, 0.5], [0.5, 30.5, 14.5]])


@pytest.mark.parametrize("head", [heads.RewardHead(8), heads.ValueHead(8)])
def test_heads_start_at_zero(head):
  clean = jnp.nan_to_num(FEATURES)
  params = head.init(jax.random.key(0), clean, MASK)
  np.testing.assert_array_equal(head.apply(params, clean, MASK), 0.0)


def test_masked_nan_reaches_no_gradient():
  def loss(params):
    values = heads.ValueHead().apply(params, FEATURES, MASK)
    rewards = heads.RewardHead().apply(params, FEATURES, MASK)
    return jnp.sum(values) + jnp.sum(rewards)

  grads = jax.grad(loss)(LINEAR)["params"]["Dense_0"]
  # Valid features, those of the last positions twice.
  np.testing.assert_allclose(grads["kernel"][:, 0], [1 + 4 + 0 + 8, 10 + 5])
  np.testing.assert_allclose(grads["bias"], [6.0])


def random_head():
  head = heads.RewardHead(8)
  shapes = jax.eval_shape(
      head.init, jax.random.key(0), np.zeros((1, 1, 4)), np.ones((1, 1), bool)
  )
  draw = np.random.default_rng(1).normal
  new = lambda x: jnp.asarray(draw(size=x.shape), x.dtype)
  return head, jax.tree.map(new, shapes)


def test_a_score_does_not_depend_on_the_batch_or_on_padding():
  """Pain 18 (reward-bench #137, TRL #422): alone == in a padded batch."""
  head, params = random_head()
  apply = jax.jit(head.apply)
  features = np.random.default_rng(2).normal(size=(3, 5, 4))
  lengths = np.array([5, 2, 3])
  mask = np.arange(5) < lengths[:, None]
  batch = np.asarray(apply(params, features, mask))
  for i, n in enumerate(lengths):
    alone = apply(params, features[i, :n], np.ones(n, bool))
    np.testing.assert_allclose(batch[i], alone, rtol=1e-5)
    left = np.concatenate([np.full((4, 4), NAN), features[i, :n]])
    padded = apply(params, left, np.arange(4 + n) >= 4)
    np.testing.assert_allclose(batch[i], padded, rtol=1e-5)


def test_the_last_position_comes_from_the_mask_not_from_token_ids():
  """Pains 18, 26 (transformers #35352, TRL #6952): ids mislead.

  The prompt holds a stop token, which is the padding token as well; looking
  for the first or last such id would read position 0 or 4.
  """
  stop = 2
  tokens = jnp.array([stop, 7, 8, stop, stop])
  mask = jnp.array([True, True, True, True, False])  # one real stop token
  table = jax.random.normal(jax.random.key(0), (9, 4))
  # Features that tell positions apart, as a causal model's do.
  features = jnp.cumsum(table[tokens], axis=0)
  head, params = random_head()
  actual = head.apply(params, features, mask)
  np.testing.assert_allclose(
      actual, head.apply(params, features[3:4], jnp.array([True])), rtol=1e-6
  )
  for wrong in (0, 4):
    other = head.apply(params, features[wrong][None], jnp.array([True]))
    assert abs(other - actual) > 1e-3


def test_a_row_with_nothing_valid_is_finite():
  head, params = random_head()
  features, nothing = jnp.ones((2, 3, 4)), jnp.zeros((2, 3), bool)
  assert jnp.all(jnp.isfinite(head.apply(params, features, nothing)))
  values = heads.ValueHead()
  made = values.init(jax.random.key(0), features, nothing)
  np.testing.assert_array_equal(values.apply(made, features, nothing), 0.0)


def test_bfloat16_heads_return_float32():
  for head in (heads.RewardHead(4, jnp.bfloat16), heads.ValueHead(4)):
    assert isinstance(head, nn.Module)
    features = jnp.ones((2, 3, 4), jnp.bfloat16)
    mask = jnp.ones((2, 3), bool)
    out, _ = head.init_with_output(jax.random.key(0), features, mask)
    assert out.dtype == jnp.float32


def test_reward_head_with_another_pool():
  head = heads.RewardHead(pool=pooling.mean)
  actual = head.apply(LINEAR, FEATURES, MASK)
  # Means (1.5, 2.5) and (2, 2), against (1, 10) plus 0.5.
  np.testing.assert_allclose(actual, [27.0, 22.5])


@variants.every
def test_vector_head_by_hand(variant):
  kernels = {
      "Dense_0": {
          "kernel": jnp.array([[1.0, -1.0], [0.0, 1.0]]),
          "bias": jnp.array([0.0, 1.0]),
      },
      "Dense_1": {"kernel": jnp.array([[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]])},
  }
  head = heads.VectorHead(3, (2,), activation=nn.relu, use_bias=False)
  x = jnp.array([[2.0, 0.0], [-1.0, 1.0]])
  actual = variant(lambda x: head.apply({"params": kernels}, x))(x)
  # Hidden layers relu(2, -1) and relu(-1, 3).
  np.testing.assert_allclose(actual, [[2, 0, 4], [9, 3, 0]])


def test_vector_head_starts_at_zero_and_has_the_layers_it_is_told():
  x = jnp.ones((2, 4))
  for widths in ((), (5,), (5, 6)):
    head = heads.VectorHead(3, widths, dtype=jnp.bfloat16)
    out, params = head.init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(out, jnp.zeros((2, 3)))
    assert out.dtype == jnp.float32
    assert len(params["params"]) == len(widths) + 1


def test_own_attribute_reads_its_own_token():
  scores = jnp.arange(18.0).reshape(2, 3, 3)
  np.testing.assert_array_equal(
      heads.own_attribute(scores), [[0, 4, 8], [9, 13, 17]]
  )


def test_own_attribute_needs_a_token_for_each(no_jaxtyping):
  scores = jnp.ones((2, 3, 3))
  with pytest.raises(ValueError, match="own_attribute: scores must be square"):
    heads.own_attribute(scores[:, :2])
