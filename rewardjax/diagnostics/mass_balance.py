"""Where one policy-gradient step on a finite sample moves probability."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class MassBalance(NamedTuple):
  """First-order change of the mass of correct items, by where it comes from.

  sampled_correct: from the rewards of the sampled correct ones; >= 0.
  sampled_wrong: from those of the sampled wrong ones; >= 0.
  unsampled: what the normaliser does to items that were not sampled; the
    only part that can be negative, and gone once everything is sampled.
  """

  sampled_correct: Float[Array, "*batch"]
  sampled_wrong: Float[Array, "*batch"]
  unsampled: Float[Array, "*batch"]

  @property
  def total(self) -> Float[Array, "*batch"]:
    """The change of the mass of correct items, to first order."""
    return self.sampled_correct + self.sampled_wrong + self.unsampled


def mass_balance(
    probabilities: Float[Array, "*batch V"],
    correct: Bool[Array, "*batch V"],
    sampled: Bool[Array, "*batch V"],
    *,
    learning_rate: Scalar,
    correct_reward: Scalar = 1.0,
    wrong_reward: Scalar = -1.0,
    num_samples: Scalar = 1,
) -> MassBalance:
  """How a step on the sampled items moves Q, the mass of correct ones.

  The step ascends sum over sampled items of R_i p_i in the logits, which is
  d/dz_k = p_k (R_k 1[k sampled] - S) with S = R_c P_c + R_w P_w and P the
  sampled masses. To first order, with h = learning_rate / num_samples,

      dQ = h [(R_c - S)(1 - Q) A + (S - R_w) Q B
              + S (Q U_w - (1 - Q) U_c)]

  A and B are the sums of p^2 over sampled correct and wrong items, U_c and
  U_w over those not sampled. For R_w <= S <= R_c only the last term can be
  negative: where S > 0 and much correct mass was missed.

  Args:
    probabilities: of all items; they sum to 1.
    correct: which items are correct.
    sampled: which items the step has seen, each once.
    learning_rate: of plain gradient ascent on the logits.
    correct_reward: R_c, centred if the step uses centred rewards.
    wrong_reward: R_w, likewise.
    num_samples: what the objective is divided by.

  Returns:
    `MassBalance` in probability, float32 or wider.

  Gradient: flows through `probabilities`.

  Raises:
    ValueError: if shapes differ, or num_samples is not positive.

  References:
    "BroRL: Scaling Reinforcement Learning via Broadened Exploration"; the
      terms are derived here for the step above.
  """
  where = "mass_balance"
  checks.same_shape(
      where, probabilities=probabilities, correct=correct, sampled=sampled
  )
  checks.within(where, 0.0, low_open=True, num_samples=num_samples)
  p = masking.as_accumulator(probabilities)
  mass = lambda x, chosen: masking.masked_sum(x, chosen, -1)
  squares = lambda chosen: mass(jnp.square(p), chosen)
  right, wrong = mass(p, correct), mass(p, ~correct)
  pull = correct_reward * mass(p, sampled & correct)
  pull = pull + wrong_reward * mass(p, sampled & ~correct)
  seen_right = squares(sampled & correct)
  seen_wrong = squares(sampled & ~correct)
  missed = right * squares(~sampled & ~correct)
  missed = missed - wrong * squares(~sampled & correct)
  step = learning_rate / num_samples
  return MassBalance(
      step * (correct_reward - pull) * wrong * seen_right,
      step * (pull - wrong_reward) * right * seen_wrong,
      step * pull * missed,
  )
