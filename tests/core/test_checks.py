import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import checks


def test_same_shape_skips_none_and_takes_numbers():
  checks.same_shape("f", x=jnp.ones(3), mask=None, y=np.ones(3))
  checks.same_shape("f", x=1.0, y=jnp.ones(()))
  checks.same_shape("f")


def test_same_shape_names_every_argument():
  message = r"f: .* \{'x': \(3,\), 'y': \(3, 1\)\}"
  with pytest.raises(ValueError, match=message):
    checks.same_shape("f", x=jnp.ones(3), y=jnp.ones((3, 1)), z=None)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (2, 1), (2, 3)])
def test_broadcasts_to(shape):
  checks.broadcasts_to("f", (2, 3), rate=jnp.ones(shape))


@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 2, 3), (3, 2, 3)])
def test_broadcasts_to_refuses_what_would_grow_or_clash(shape):
  message = r"f: rate must broadcast to \(2, 3\), got shape \("
  with pytest.raises(ValueError, match=message):
    checks.broadcasts_to("f", (2, 3), fine=0.5, rate=jnp.ones(shape))


def test_within_is_closed_unless_told_otherwise():
  checks.within("f", 0, 1, low=0, high=1.0, numpy=np.float32(0.5))
  checks.within("f", 0, low_open=True, small=1e-30)
  with pytest.raises(ValueError, match=r"f: x must be in \(0, inf\], got 0"):
    checks.within("f", 0, low_open=True, x=0)
  with pytest.raises(ValueError, match=r"must be in \[0, 1\), got 1\.0"):
    checks.within("f", 0, 1, high_open=True, x=1.0)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), np.float32(2), 2])
def test_probability_refuses(value):
  with pytest.raises(ValueError, match=r"f: rate must be in \[0, 1\], got"):
    checks.probability("f", fine=0.3, rate=value)


def test_traced_values_pass():
  @jax.jit
  def function(rate):
    checks.probability("f", rate=rate)
    checks.at_least("f", 1, count=rate)
    return rate

  assert function(-3.0) == -3.0


def test_at_least_and_one_of():
  checks.at_least("f", 1, k=1)
  checks.at_least("f", 1, high=1, low=2)  # names of its own parameters
  with pytest.raises(ValueError, match=r"f: k must be in \[1, inf\], got 0"):
    checks.at_least("f", 1, k=0)
  checks.one_of("f", iter(["a", "b"]), mode="b", other="a")
  with pytest.raises(ValueError, match="mode must be one of a, b; got 'c'"):
    checks.one_of("f", ("a", "b"), mode="c")
