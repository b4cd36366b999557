import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import divergences
from tests import variants

NAN, INF = jnp.nan, jnp.inf
P = jnp.array([0.5, 0.3, 0.2])
Q = jnp.array([0.4, 0.4, 0.2])
ESTIMATORS = (divergences.k1, divergences.k2, divergences.k3)


def exact_kl(p, q):
  p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
  return np.sum(p * np.log(p / q))


@variants.every
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_by_hand(variant, estimator):
  log_probs = jnp.log(jnp.array([[0.5, 0.2, 0.3], [0.25, 1.0, 0.5]]))
  reference = jnp.log(jnp.array([[0.25, 0.2, 0.6], [1.0, 0.5, 0.5]]))
  log_probs = log_probs.at[0, 1].set(NAN)  # a masked entry stays in its place
  half, two, four = np.log(0.5), np.log(2), np.log(4)
  expected = {
      "k1": [[two, NAN, half], [-four, two, 0]],
      "k2": [[two**2 / 2, NAN, half**2 / 2], [four**2 / 2, two**2 / 2, 0]],
      "k3": [[-0.5 + two, NAN, 1 + half], [3 - four, -0.5 + two, 0]],
  }[estimator.__name__]
  actual = variant(estimator)(log_probs, reference)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expectation_and_variance_by_enumeration(estimator):
  """All three outcomes of one draw from p, weighted by p."""
  values = np.asarray(estimator(jnp.log(P), jnp.log(Q)), np.float64)
  p = np.asarray(P, np.float64)
  mean = np.sum(p * values)
  variance = np.sum(p * values**2) - mean**2
  kl = exact_kl(P, Q)
  np.testing.assert_allclose(kl, 0.0252672, rtol=1e-5)
  expected = {"k1": kl, "k2": 0.0248624, "k3": kl}[estimator.__name__]
  np.testing.assert_allclose(mean, expected, rtol=1e-5)
  expected = {"k1": 0.0490864, "k3": 0.0002546}.get(estimator.__name__)
  if expected is not None:
    np.testing.assert_allclose(variance, expected, rtol=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_each_estimator_descends_as_a_loss(estimator):
  """Pain 9 (open-instruct #534, verl #2953, TRL #4967): not all descend KL.

  The gradient of a loss on tokens drawn from p, in expectation over p with
  the draw held: k1 gives exactly nothing, k2 the gradient of KL(p || q), k3
  that of KL(q || p).
  """
  theta = jnp.log(P)
  held, log_q = P, jnp.log(Q)

  def loss(theta):
    return jnp.vdot(held, estimator(jax.nn.log_softmax(theta), log_q))

  forward = lambda t: divergences.categorical_kl(t, log_q)
  reverse = lambda t: divergences.categorical_kl(log_q, t)
  expected = {
      "k1": np.zeros(3),
      "k2": jax.grad(forward)(theta),
      "k3": jax.grad(reverse)(theta),
  }[estimator.__name__]
  actual = jax.grad(loss)(theta)
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  printed = {"k2": [0.098938, -0.093885, -0.005053], "k3": [0.1, -0.1, 0.0]}
  if estimator.__name__ in printed:
    np.testing.assert_allclose(actual, printed[estimator.__name__], atol=1e-6)


def test_k3_keeps_its_digits_for_close_policies():
  d = jnp.array([1e-3, -1e-3, 1e-2])
  expected = np.expm1(-np.asarray(d, np.float64)) + np.asarray(d, np.float64)
  actual = divergences.k3(d, jnp.zeros(3))
  np.testing.assert_allclose(actual, expected, rtol=1e-3)
  assert jnp.all(actual >= 0)


def test_k3_is_bounded_and_its_gradient_then_linear():
  far = jnp.array([-100.0, 100.0])
  total = lambda x, bound: jnp.sum(divergences.k3(x, jnp.zeros(2), bound=bound))
  for bound in (2, 2.0, jnp.asarray(2.0)):
    actual = divergences.k3(far, jnp.zeros(2), bound=bound)
    expected = [np.exp(2) - 1 - 100, np.exp(-2) - 1 + 100]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(total)(far, bound), [1, 1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fill_before_the_call_keeps_the_gradient_finite(estimator):
  """A fill afterwards does not, as the head of the module says."""
  mask = jnp.array([True, False])
  wild = jnp.array([-1.0, -INF])

  def before(x):
    safe = jnp.where(mask, x, 0.0)
    return jnp.sum(jnp.where(mask, estimator(safe, jnp.zeros(2)), 0.0))

  gradient = jax.grad(before)(wild)
  assert gradient[1] == 0 and jnp.isfinite(gradient[0])


@variants.every
def test_categorical_kl_by_hand(variant):
  logits = jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])) + 3
  reference = jnp.log(jnp.array([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]))
  actual = variant(divergences.categorical_kl)(logits, reference)
  np.testing.assert_allclose(actual, [0.5 * np.log(2), 0], atol=1e-6)


def test_categorical_kl_at_the_edges():
  finite = jnp.array([0.0, 1.0])
  forbidden = jnp.array([0.0, -INF])
  assert divergences.categorical_kl(finite, forbidden) == INF
  loss = lambda x: divergences.categorical_kl(x, finite)
  value, gradient = jax.value_and_grad(loss)(forbidden)
  expected = -jax.nn.log_softmax(finite)[0]
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(gradient, [0, 0], atol=1e-6)


def test_categorical_kl_is_never_negative_without_a_clamp():
  """Pain 14 (verl #7856, #7239): a clamp at 0 hid what was no KL."""
  keys = jax.random.split(jax.random.key(0), 2)
  p, q = (jax.random.normal(k, (500, 7)) * 4 for k in keys)
  assert jnp.min(divergences.categorical_kl(p, q)) > 0
  # 1e-6: what rounding leaves of an exact 0.
  assert jnp.max(jnp.abs(divergences.categorical_kl(p, p + 2))) < 1e-6


def test_bfloat16_is_widened_first():
  rows = jax.random.normal(jax.random.key(0), (2, 64), jnp.bfloat16) * 3
  p, q = (np.asarray(x, np.float64) for x in rows)
  p, q = (x - np.log(np.sum(np.exp(x))) for x in (p, q))
  expected = np.sum(np.exp(p) * (p - q))
  actual = divergences.categorical_kl(rows[0], rows[1])
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  d = np.asarray(rows[0], np.float64) - np.asarray(rows[1], np.float64)
  np.testing.assert_allclose(
      divergences.k3(rows[0], rows[1]), np.exp(-d) - 1 + d, rtol=1e-5
  )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_name_mismatched_arguments(no_jaxtyping, estimator):
  with pytest.raises(ValueError, match=r"'reference_log_probs': \(2,\)"):
    estimator(jnp.zeros(3), jnp.zeros(2))


def test_categorical_kl_names_mismatched_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'reference_logits': \(2,\)"):
    divergences.categorical_kl(jnp.zeros(3), jnp.zeros(2))


@variants.every
def test_gaussian_kl_by_hand(variant):
  mean = jnp.array([[0.5, -1.0], [0.0, 0.0]])
  log_variance = jnp.array([[0.0, -1.0], [0.0, 0.0]])
  actual = variant(divergences.gaussian_kl)(mean, log_variance)
  # -1/2 sum(1 + v - m^2 - e^v).
  np.testing.assert_allclose(actual, [0.808940, 0.0], atol=1e-6)


def test_gaussian_kl_of_two_by_quadrature():
  x = np.linspace(-12, 12, 40_001)
  log_p = lambda m, v: -0.5 * (v + np.log(2 * np.pi) + (x - m) ** 2 / np.exp(v))
  p, q = log_p(0.7, -0.4), log_p(-0.2, 0.9)
  expected = np.sum(np.exp(p) * (p - q)) * (x[1] - x[0])
  numbers = [jnp.array([n]) for n in (0.7, -0.4, -0.2, 0.9)]
  np.testing.assert_allclose(
      divergences.gaussian_kl(*numbers), expected, rtol=1e-5
  )
  same = divergences.gaussian_kl(*numbers[:2], *numbers[:2])
  np.testing.assert_array_equal(same, 0.0)


def test_gaussian_kl_gradient():
  mean, log_variance = jnp.array([0.5, -1.0]), jnp.array([0.3, -1.0])
  of_mean, of_log = jax.grad(divergences.gaussian_kl, argnums=(0, 1))(
      mean, log_variance
  )
  np.testing.assert_allclose(of_mean, mean)
  np.testing.assert_allclose(
      of_log, 0.5 * (jnp.exp(log_variance) - 1), rtol=1e-6
  )


def test_gaussian_kl_names_bad_arguments(no_jaxtyping):
  x = jnp.ones(2)
  with pytest.raises(ValueError, match=r"'reference_mean': \(3,\)"):
    divergences.gaussian_kl(x, x, jnp.ones(3))
