import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import instructions
from tests import variants

instructions = variants.programs(instructions, host=("contrast_pairs",))

NAN = jnp.nan
# Own answers on the diagonal: both right; the mirror wrong in one way each.
SQUARES = jnp.array([
    [[2.0, 1.0], [0.0, 3.0]],
    [[2.0, 4.0], [1.0, 3.0]],
    [[NAN, NAN], [NAN, NAN]],
])
MASK = jnp.array([True, True, False])


@pytest.mark.parametrize("run", [variants.eager, jax.jit])
def test_by_hand(run):
  responses = run(instructions.response_consistency)(SQUARES, MASK)
  asked = run(instructions.instruction_consistency)(SQUARES, MASK)
  # Row 2: 2 < 4 fails, 3 > 1 holds; down its columns 2 > 1 holds, 3 < 4 not.
  assert float(responses.value) == 0.75 and float(responses.weight) == 4
  assert float(asked.value) == 0.75


def test_a_reward_that_does_not_read_the_instruction():
  blind = jnp.broadcast_to(jnp.array([1.0, 5.0]), (7, 2, 2))
  assert float(instructions.instruction_consistency(blind).value) == 0
  half = instructions.instruction_consistency(blind, ties="half")
  assert float(half.value) == 0.5
  assert float(instructions.response_consistency(blind).value) == 0.5


def test_contrast_pairs_are_near_but_not_equal():
  angle = np.arccos([1.0, 1.0, 0.8, 0.5])
  x = 3 * np.stack([np.cos(angle), np.sin(angle)], -1)
  pairs = instructions.contrast_pairs(x)
  # 1 and 1 are the same; .8 from both; .5 is .9196 from .8.
  np.testing.assert_array_equal(pairs, [[0, 2], [1, 2]])
  wide = instructions.contrast_pairs(x, low=0.4, high=0.95)
  assert wide.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
  assert instructions.contrast_pairs(np.zeros((3, 2))).shape == (0, 2)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="low must be"):
    instructions.contrast_pairs(np.eye(2), low=0.9, high=0.5)
  with pytest.raises(ValueError, match=r"'mask': \(2,\)"):
    instructions.response_consistency(SQUARES, jnp.ones(2, bool))
