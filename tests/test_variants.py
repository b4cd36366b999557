import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core.masking import Mean
from tests import variants


@pytest.fixture
def counted():
  """A program, and whether each call of its function was traced."""
  traced = []

  def times(x, n):
    traced.append(isinstance(x, jax.core.Tracer))
    return n * x

  return variants.program(times), traced


def test_a_program_is_traced_once_for_each_static_argument(counted):
  call, traced = counted
  for n in (1, 1, 1.0, True):
    found = call(np.arange(2), n)
    assert isinstance(found, np.ndarray)
    assert found.dtype == (np.float32 if type(n) is float else np.int32)
  assert traced == [True] * 3


@pytest.mark.parametrize(
    "x", [[0.0, np.nan], [np.inf, 1.0], jnp.ones(2, jnp.bfloat16)]
)
def test_what_a_compiler_may_change_runs_op_by_op(counted, x):
  call, traced = counted
  call(np.asarray(x), 2)
  assert traced == [False]


def test_eager_stays_eager_and_what_is_traced_is_not_nested(counted):
  call, traced = counted
  variants.eager(call)(jnp.ones(2), 2)
  with variants.op_by_op():
    call(jnp.ones(2), 2)
  assert traced == [False, False]
  text = str(jax.make_jaxpr(lambda x: call(x, 2))(jnp.ones(2)))
  assert "jit" not in text and traced[2:] == [True]


def test_a_mean_keeps_its_arrays():
  found = variants.program(lambda x: Mean(x, x))(jnp.ones(()))
  assert found.value == 1
