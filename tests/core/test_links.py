import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import links
from tests import variants

MARGINS = jnp.array([[0.9, -2.0], [0.0, 40.0]])


@variants.every
def test_links_by_hand(variant):
  m = np.asarray(MARGINS, np.float64)
  expected = np.log1p(np.exp(-m))
  np.testing.assert_allclose(
      variant(links.logistic)(MARGINS), expected, rtol=1e-6
  )
  np.testing.assert_allclose(
      variant(links.hinge)(MARGINS), [[0.1, 3], [1, 0]], rtol=1e-5, atol=1e-7
  )
  np.testing.assert_allclose(
      variant(links.sigmoid)(MARGINS), 1 / (1 + np.exp(m)), rtol=1e-6
  )


def test_hinge_gradient_stops_at_its_threshold():
  slope = jax.grad(lambda x: jnp.sum(links.hinge(x, threshold=0.5)))
  x = jnp.array([0.4, 0.6, -3.0])
  np.testing.assert_array_equal(slope(x), [-1, 0, -1])


def test_sigmoid_link_is_symmetric_and_logistic_is_not():
  x = jnp.linspace(-30, 30, 13)
  np.testing.assert_allclose(links.sigmoid(x) + links.sigmoid(-x), 1.0)
  both = links.logistic(x) + links.logistic(-x)
  assert np.ptp(both) > 20


def test_symmetric_flips_scale_and_shift_the_sigmoid_risk_only():
  """Expected loss under flips at 0.3, over both outcomes."""
  x, rate = jnp.linspace(-3, 3, 7), 0.3
  noisy = (1 - rate) * links.sigmoid(x) + rate * links.sigmoid(-x)
  expected = (1 - 2 * rate) * links.sigmoid(x) + rate
  np.testing.assert_allclose(noisy, expected, rtol=1e-6)


@variants.every
def test_mixed_by_hand(variant):
  won = jnp.array([[0.9, 0.0], [1.5, 1.0]])
  lost = jnp.array([[0.1, 1.0], [-0.5, 0.0]])
  m, w, v = (np.asarray(x, np.float64) for x in (MARGINS, won, lost))
  expected = w * np.log1p(np.exp(-m)) + v * np.log1p(np.exp(m))
  actual = variant(links.mixed)(MARGINS, won, lost)
  np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("link", [links.logistic, links.hinge, links.sigmoid])
def test_links_in_bfloat16_and_far_out(link):
  x = jnp.array([-300.0, 300.0], jnp.bfloat16)
  out = link(x)
  assert out.dtype == jnp.float32 and np.all(np.isfinite(out))
  slope = jax.grad(lambda x: jnp.sum(link(x)))(x)
  assert np.all(np.isfinite(slope))


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"hinge: threshold must be in \[0"):
    links.hinge(MARGINS, threshold=-1.0)
  with pytest.raises(ValueError, match=r"mixed: .*'lost': \(3,\)"):
    links.mixed(MARGINS, MARGINS, jnp.ones(3))
