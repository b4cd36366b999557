import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import interpolation
from tests import variants

START = {"w": jnp.array([[1.0, 2.0], [0.1, 3.0]]), "b": jnp.array([0.0, -1.0])}
END = {"w": jnp.array([[3.0, 2.0], [0.7, 0.0]]), "b": jnp.array([1.0, 1.0])}


@variants.every
def test_on_the_line(variant):
  move = variant(lambda a, b: interpolation.extrapolate(a, b, factor=1.5))
  actual = move(START, END)
  np.testing.assert_allclose(
      actual["w"], [[4, 2], [1.0, -1.5]], rtol=1e-6
  )
  np.testing.assert_allclose(actual["b"], [1.5, 2])


@pytest.mark.parametrize("factor,expected", [(0.0, START), (1, END)])
def test_the_ends_are_exact(factor, expected):
  actual = interpolation.extrapolate(START, END, factor=factor)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_keeps_dtypes_and_passes_counters():
  start = {"w": jnp.ones(2, jnp.bfloat16), "step": jnp.array(3)}
  end = {"w": jnp.zeros(2, jnp.bfloat16), "step": jnp.array(5)}
  actual = interpolation.extrapolate(start, end, factor=2.0)
  assert actual["w"].dtype == jnp.bfloat16 and actual["step"] == 5


def test_gradient():
  loss = lambda a, b: jnp.sum(
      interpolation.extrapolate(a, b, factor=3.0)["b"]
  )
  of_start, of_end = jax.grad(loss, argnums=(0, 1))(START, END)
  np.testing.assert_allclose(of_start["b"], [-2.0, -2.0])
  np.testing.assert_allclose(of_end["b"], [3.0, 3.0])


def test_names_bad_arguments():
  with pytest.raises(ValueError, match="extrapolate: end must have the struc"):
    interpolation.extrapolate(START, {"w": END["w"]}, factor=1.0)
  with pytest.raises(ValueError, match=r"the shapes of start, got \(1,\)"):
    interpolation.extrapolate(
        START, {"w": END["w"], "b": jnp.ones(1)}, factor=1.0
    )
