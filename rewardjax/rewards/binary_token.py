"""A judge that answers one question by one token, as a reward."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


def binary_token_reward(
    wanted: Float[Array, "*shape"],
    other: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
) -> Float[Array, "*shape"]:
  """p(wanted) / (p(wanted) + p(other)) = sigmoid(wanted - other).

  To the question whether a picture has artefacts the wanted answer is "no".
  A constant added to both logits changes nothing, so logits and log-probs
  do alike, and other tokens of the vocabulary play no part.

  Args:
    wanted: logit or log-probability of the answer to be paid.
    other: of the opposite answer.
    mask: True where the judge was asked; None means everywhere.

  Returns:
    In [0, 1], float32 or wider, 0 where masked; 1/2 for equal logits.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ.

  References:
    "Understanding Reward Hacking in Text-to-Image Reinforcement Learning".
  """
  where = "binary_token_reward"
  checks.same_shape(where, wanted=wanted, other=other, mask=mask)
  wanted = masking.fill_masked(wanted, mask)
  paid = jax.nn.sigmoid(wanted - masking.fill_masked(other, mask))
  return paid if mask is None else jnp.where(mask, paid, 0.0)
