"""Rewards without labels: samples agree with each other, or with themselves."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks


def matches(
    answers: Int[Array, "*batch G"], labels: Int[Array, "*batch"]
) -> Float[Array, "*batch G"]:
  """1 where an answer is the label of its group, else 0.

  Args:
    answers: ids >= 0; a negative one is no answer and never matches.
    labels: of each group, such as a majority; a negative one is no label.

  Raises:
    ValueError: if the shapes do not fit.
  """
  checks.same_shape("matches", labels=labels, first_answer=answers[..., 0])
  equal = (answers == labels[..., None]) & (answers >= 0)
  return equal.astype(jnp.float32)


def twin_matches(
    answers: Int[Array, "*batch 2 G"], labels: Int[Array, "*batch 2"]
) -> Float[Array, "*batch 2 G"]:
  """Each view of a problem is judged by the label of the other view.

  Args:
    answers: to both wordings of one problem; ids as in `matches`.
    labels: of each view, from its own answers.

  References:
    "Co-Reward: Self-supervised Reinforcement Learning for Large Language
      Model Reasoning via Contrastive Agreement", 2025.
  """
  return matches(answers, jnp.flip(labels, axis=-1))


def unrevised(
    slots: Int[Array, "*batch K"],
    values: Int[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Bool[Array, "*batch K"]:
  """True for steps whose value stands: no later step gives another one.

  A judge that needs nothing but the sample: whoever corrects a value says
  that the earlier one was wrong.

  Args:
    slots: what each step sets, such as a variable; negative sets nothing.
    values: what it is set to.
    mask: True for real steps; None means all. Padding is False.

  Raises:
    ValueError: if shapes differ.

  References:
    "Good Learners Think Their Thinking" (TP-GRPO; our rule).
  """
  checks.same_shape("unrevised", slots=slots, values=values, mask=mask)
  mask = jnp.ones(slots.shape, bool) if mask is None else mask
  sets = mask & (slots >= 0)
  places = jnp.arange(slots.shape[-1])
  later = places[None, :] > places[:, None]
  later = later.reshape((1,) * (slots.ndim - 1) + later.shape)
  same = slots[..., :, None] == slots[..., None, :]
  other = values[..., :, None] != values[..., None, :]
  both = sets[..., :, None] & sets[..., None, :]
  return mask & ~jnp.any(later & same & other & both, axis=-1)
