import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import control

LOSSES = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, jnp.nan]])
DOUBT = jnp.array([[0.0, 1.0], [0.5, jnp.nan], [9.0, 9.0]])
T = jnp.array([0.1, 0.4, 0.41])
MASK = jnp.array([[True, True], [True, False], [True, False]])


def test_ctrl_u_by_hand():
  found = control.ctrl_u(LOSSES, DOUBT, T, MASK, coefficient=0.3)
  expected = 1 + 2 * np.exp(-1) + 0.3 + 3 * np.exp(-0.5) + 0.15
  assert float(found.weight) == 3
  assert float(found.total) == pytest.approx(expected, rel=1e-6)


def test_no_doubt_is_the_plain_loss():
  found = control.ctrl_u(LOSSES, 0 * DOUBT, T, MASK)
  assert float(found.value) == pytest.approx(2.0)


def test_nothing_to_read_is_zero():
  found = control.ctrl_u(LOSSES, DOUBT, T, jnp.zeros_like(MASK))
  assert float(found.value) == 0.0
  found = control.ctrl_u(LOSSES, DOUBT, T, MASK, max_time=0.0)
  assert float(found.value) == 0.0


def test_gradient_in_closed_form():
  total = lambda loss, u: control.ctrl_u(loss, u, T, MASK).total
  to_loss, to_doubt = jax.grad(total, (0, 1))(LOSSES, DOUBT)
  expected = [[1, np.exp(-1)], [np.exp(-0.5), 0], [0, 0]]
  np.testing.assert_allclose(to_loss, expected, rtol=1e-6)
  expected = [[-1, -2 * np.exp(-1)], [-3 * np.exp(-0.5), 0], [0, 0]]
  np.testing.assert_allclose(to_doubt, expected, rtol=1e-6)


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"ctrl_u: .*'t': \(2,\)"):
    control.ctrl_u(LOSSES, DOUBT, T[:2])
  with pytest.raises(ValueError, match="max_time must be in"):
    control.ctrl_u(LOSSES, DOUBT, T, max_time=400)
