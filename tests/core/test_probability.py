import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.core import probability
from tests import variants

INF = jnp.inf
PROBABILITIES = jnp.array([[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4]])
# Any constant may be added to a row of logits.
LOGITS = jnp.log(PROBABILITIES) + jnp.array([[5.0], [-300.0]])
TOKENS = jnp.array([1, 3])


@variants.every
def test_token_log_probs_by_hand(variant):
  actual = variant(probability.token_log_probs)(LOGITS, TOKENS)
  np.testing.assert_allclose(actual, np.log([0.25, 0.4]), rtol=1e-4)


@variants.every
def test_entropy_by_hand(variant):
  actual = variant(probability.entropy)(LOGITS)
  p = np.array([0.1, 0.2, 0.3, 0.4])
  expected = [1.5 * np.log(2), -np.sum(p * np.log(p))]
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_token_log_probs_of_all_tokens_sum_to_one():
  tokens = jnp.broadcast_to(jnp.arange(4)[:, None], (4, 2))
  logits = jnp.broadcast_to(LOGITS[None], (4, 2, 4))
  actual = jnp.exp(probability.token_log_probs(logits, tokens))
  np.testing.assert_allclose(actual, PROBABILITIES.T, rtol=1e-4)


def test_gradients_in_closed_form():
  p = PROBABILITIES[1]
  pick = lambda x: probability.token_log_probs(x, TOKENS[1])
  expected = jax.nn.one_hot(3, 4) - p
  np.testing.assert_allclose(jax.grad(pick)(jnp.log(p)), expected, rtol=1e-5)
  # - p_v (log p_v + H)
  entropy, gradient = jax.value_and_grad(probability.entropy)(jnp.log(p))
  expected = -p * (jnp.log(p) + entropy)
  np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_forbidden_entries_get_zero_gradient():
  logits = jnp.log(PROBABILITIES[0])
  for function in (
      probability.entropy,
      lambda x: probability.token_log_probs(x, TOKENS[0]),
  ):
    gradient = jax.grad(function)(logits)
    assert jnp.all(jnp.isfinite(gradient)) and gradient[3] == 0
  assert probability.token_log_probs(logits, jnp.asarray(3)) == -INF


def test_one_token_is_certain():
  one = jnp.array([[7.0]])
  assert probability.entropy(one) == 0
  assert probability.token_log_probs(one, jnp.array([0])) == 0


def test_bfloat16_is_widened_first():
  logits = jax.random.normal(jax.random.key(0), (3, 300), jnp.bfloat16) * 4
  wide = np.asarray(logits, np.float64)
  log_p = wide - np.log(np.sum(np.exp(wide), -1, keepdims=True))
  actual = probability.token_log_probs(logits, jnp.array([0, 5, 299]))
  expected = log_p[np.arange(3), [0, 5, 299]]
  assert actual.dtype == jnp.float32
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  expected = -np.sum(np.exp(log_p) * log_p, -1)
  np.testing.assert_allclose(probability.entropy(logits), expected, rtol=1e-5)
