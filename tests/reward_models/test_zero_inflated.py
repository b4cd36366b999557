import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import zero_inflated
from rewardjax.reward_models.zero_inflated import ZeroInflated
from tests import variants

zero_inflated = variants.programs(zero_inflated)

NAN = jnp.nan
LOGIT = np.log(0.3 / 0.7)
nll = zero_inflated.negative_log_likelihood


def several(shape):
  full = lambda x: jnp.full(shape, x)
  return ZeroInflated(full(LOGIT), full(1.0), full(0.5))


@variants.every
def test_likelihood_by_hand(variant):
  law = several((2, 3))
  law = law._replace(location=law.location.at[:, 2].set(NAN))
  targets = jnp.array([[0.0, 3.0, NAN], [3.0, 0.0, 1.0]])
  mask = jnp.array([[True, True, False]] * 2)
  actual = variant(lambda *a: nll(ZeroInflated(*a[:3]), *a[3:]))(
      *law, targets, mask
  )
  zero, three = 0.356675, 2.547825
  expected = [[zero, three, 0], [three, zero, 0]]
  np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_mean_by_hand_and_bounded():
  np.testing.assert_allclose(
      zero_inflated.mean(several(())), 0.924065, atol=1e-6
  )
  wild = ZeroInflated(jnp.array(50.0), jnp.array(5.0), jnp.array(90.0))
  value, slope = variants.value_and_grad(zero_inflated.mean)(wild)
  np.testing.assert_allclose(value, np.exp(12), rtol=1e-5)
  assert all(np.isfinite(x) for x in slope)


def test_likelihood_is_normalised():
  """The mass at 0 and the density above it, by quadrature in log y."""
  u = np.linspace(-4, 6, 20_001)
  y = jnp.array(np.exp(u))
  law = several(y.shape)
  density = np.exp(-np.asarray(nll(law, y), np.float64))
  mass = np.sum(density * np.exp(u)) * (u[1] - u[0])
  at_zero = np.exp(-nll(several(()), jnp.array(0.0)))
  np.testing.assert_allclose(mass + at_zero, 1.0, rtol=1e-5)
  mean = np.sum(density * np.exp(2 * u)) * (u[1] - u[0])
  np.testing.assert_allclose(
      mean, zero_inflated.mean(several(())), rtol=1e-4
  )


def test_gradients_against_finite_differences():
  outputs = jnp.array([[0.4, 1.0, -0.3], [0.4, 1.0, -0.3], [NAN, 1.0, NAN]])
  targets = jnp.array([0.0, 2.5, 1.0])
  mask = jnp.array([True, True, False])

  def total(outputs, targets):
    return jnp.sum(nll(zero_inflated.read(outputs, mask), targets, mask))

  slope, held = variants.grad(total, argnums=(0, 1))(outputs, targets)
  np.testing.assert_array_equal(held, 0.0)
  np.testing.assert_array_equal(slope[2], 0.0)

  def exact(row, y):
    a, b, c = row
    s = np.log1p(np.exp(c)) + 1e-3
    p = 1 / (1 + np.exp(-a))
    if y == 0:
      return -np.log(1 - p)
    z = (np.log(y) - b) / s
    return -np.log(p) + np.log(y * s * np.sqrt(2 * np.pi)) + z * z / 2

  for i, y in enumerate((0.0, 2.5)):
    for k in range(3):
      step = 1e-6 * np.eye(3)[k]
      row = np.array([0.4, 1.0, -0.3])
      numeric = (exact(row + step, y) - exact(row - step, y)) / 2e-6
      np.testing.assert_allclose(slope[i, k], numeric, rtol=1e-4, atol=1e-6)


def test_extreme_outputs_are_finite():
  outputs = jnp.array([[-200.0, 0.0, -200.0], [200.0, 50.0, 90.0]])
  total = lambda x, y: jnp.sum(nll(zero_inflated.read(x), y))
  for y in (0.0, 1e-6, 1e6):
    value, slope = variants.value_and_grad(total)(outputs, jnp.full(2, y))
    assert np.isfinite(value) and np.all(np.isfinite(slope))


@variants.every
def test_gate_loss_by_hand(variant):
  logits = jnp.log(jnp.array([[0.7, 0.3], [NAN, 0.5]]))
  losses = jnp.array([[2.0, 1.0], [0.0, NAN]])
  mask = jnp.array([True, False])
  actual = variant(
      lambda a, b, m: zero_inflated.gate_loss(
          a, b, m, focus=2.0, soft_weight=0.5
      )
  )(logits, losses, mask)
  q = np.exp([-2.0, -1.0]) / np.sum(np.exp([-2.0, -1.0]))
  g = np.array([0.7, 0.3])
  kl = np.sum(g * np.log(g / q))
  expected = -(0.7**2) * np.log(0.3) + 0.5 * kl
  np.testing.assert_allclose(actual, [expected, 0.0], rtol=1e-5)


def test_gate_gradient_is_that_of_the_logits_alone():
  logits = jnp.array([[0.3, -0.2, 1.0], [NAN, 0.0, 0.0]])
  losses = jnp.array([[1.0, 0.2, 0.5], [NAN, 0.0, 0.0]])
  mask = jnp.array([True, False])
  total = lambda a, b: jnp.sum(
      zero_inflated.gate_loss(a, b, mask, focus=0.0, soft_weight=0.0)
  )
  of_logits, of_losses = variants.grad(total, argnums=(0, 1))(logits, losses)
  np.testing.assert_array_equal(of_losses, 0.0)
  # Plain cross-entropy: softmax minus one-hot.
  expected = jax.nn.softmax(logits[0]) - jnp.array([0.0, 1.0, 0.0])
  np.testing.assert_allclose(of_logits[0], expected, rtol=1e-5)
  np.testing.assert_array_equal(of_logits[1], 0.0)


def test_one_expert_has_no_gate_loss():
  loss = lambda x: jnp.sum(
      zero_inflated.gate_loss(x, jnp.array([[3.0]]), focus=0.5)
  )
  value, slope = variants.value_and_grad(loss)(jnp.array([[0.7]]))
  np.testing.assert_allclose(value, 0.0, atol=1e-12)
  np.testing.assert_allclose(slope, 0.0, atol=1e-12)
  sure = variants.grad(
      lambda x: jnp.sum(
          zero_inflated.gate_loss(x, jnp.array([[0.0, 9.0]]), focus=0.5)
      )
  )(jnp.array([[500.0, 0.0]]))
  assert np.all(np.isfinite(sure))


def test_gate_targets():
  best, log_soft = zero_inflated.gate_targets(jnp.array([[1.0, 0.0, 0.0]]))
  np.testing.assert_array_equal(best, [[0, 1, 0]])
  np.testing.assert_allclose(jnp.sum(jnp.exp(log_soft)), 1.0, rtol=1e-6)
  np.testing.assert_allclose(log_soft[0, 1] - log_soft[0, 0], 1.0, rtol=1e-6)


@variants.every
def test_straight_through_by_hand(variant):
  logits = jnp.array([[0.1, 2.0, 0.3], [5.0, -1.0, 4.9]])
  actual = variant(zero_inflated.straight_through)(logits)
  np.testing.assert_array_equal(actual, [[0, 1, 0], [1, 0, 0]])
  weights = jnp.array([1.0, -2.0, 0.5])
  slope = variants.grad(
      lambda x: jnp.vdot(
          weights, zero_inflated.straight_through(x, temperature=2.0)
      )
  )(logits[0])
  p = np.asarray(jax.nn.softmax(logits[0] / 2))
  expected = p * (weights - p @ weights) / 2
  np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_selection_draws_from_the_softmax():
  p = np.array([0.5, 0.3, 0.2])
  logits = jnp.broadcast_to(jnp.log(jnp.array(p)), (40_000, 3))
  drawn = zero_inflated.select(jax.random.key(0), logits)
  np.testing.assert_array_equal(jnp.sum(drawn, -1), 1.0)
  assert set(np.unique(drawn)) == {0.0, 1.0}
  np.testing.assert_allclose(jnp.mean(drawn, 0), p, atol=0.01)


def test_read_and_bfloat16():
  outputs = jnp.array([0.5, 1.0, 0.0], jnp.bfloat16)
  law = zero_inflated.read(outputs)
  assert law.width.dtype == jnp.float32
  np.testing.assert_allclose(law.width, np.log(2) + 1e-3, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"outputs must be \[..., 3\]"):
    zero_inflated.read(jnp.ones((2, 2)))
  with pytest.raises(ValueError, match="read: .*'mask': \\(3,\\)"):
    zero_inflated.read(jnp.ones((2, 3)), jnp.ones(3, bool))
  with pytest.raises(ValueError, match="'targets': \\(3,\\)"):
    nll(several((2,)), jnp.ones(3))
  x = jnp.ones((2, 2))
  with pytest.raises(ValueError, match="gate_loss: focus must be in"):
    zero_inflated.gate_loss(x, x, focus=-1.0)
  with pytest.raises(ValueError, match="temperature must be in"):
    zero_inflated.select(jax.random.key(0), x, temperature=0.0)
