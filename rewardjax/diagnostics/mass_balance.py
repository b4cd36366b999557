"""Where one policy-gradient step on a finite sample moves probability."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

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
  pull = correct_reward * mass(p, sampled & correct)
  pull = pull + wrong_reward * mass(p, sampled & ~correct)
  return _balance(
      _Parts(
          (mass(p, correct), mass(p, ~correct)),
          (squares(sampled & correct), squares(sampled & ~correct)),
          (squares(~sampled & correct), squares(~sampled & ~correct)),
      ),
      pull,
      (correct_reward, wrong_reward),
      learning_rate / num_samples,
  )


class _Parts(NamedTuple):
  """Each of correct and of wrong items: mass, and p^2 seen and not seen."""

  mass: tuple[Array, Array]
  seen: tuple[Array, Array]
  unseen: tuple[Array, Array]


def _balance(parts: _Parts, pull, rewards, step) -> MassBalance:
  (right, wrong), (good, bad) = parts.mass, rewards
  missed = right * parts.unseen[1] - wrong * parts.unseen[0]
  return MassBalance(
      step * (good - pull) * wrong * parts.seen[0],
      step * (pull - bad) * right * parts.seen[1],
      step * pull * missed,
  )


def sampled_mass_balance(
    log_probs: Float[Array, "*batch G"],
    correct: Bool[Array, "*batch G"],
    items: Int[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    learning_rate: Scalar,
    correct_reward: Scalar = 1.0,
    wrong_reward: Scalar = -1.0,
    num_samples: Scalar = 1,
) -> MassBalance:
  """`mass_balance` where only the samples are known, G independent draws.

  What was sampled is exact, each item once. The rest is estimated: Q is the
  share of correct samples; the sum of p^2 over unsampled correct items is the
  mean of p over those samples that are correct and the only ones of their
  item, after Good and Turing: its expectation is that of the true sum after
  G - 1 draws. Products of the two are not unbiased.

  Args:
    log_probs: of whole samples under the law that drew them, in nats.
    correct: their verdicts.
    items: equal for equal samples of a group, such as `marks.answer_ids` of
      whole completions.
    mask: True for samples that count; None means all.
    learning_rate: as `mass_balance`, as the rest.

  Raises:
    ValueError: if shapes differ, or num_samples is not positive.
  """
  where = "sampled_mass_balance"
  checks.same_shape(
      where, log_probs=log_probs, correct=correct, items=items, mask=mask
  )
  checks.within(where, 0.0, low_open=True, num_samples=num_samples)
  mask = jnp.ones(items.shape, bool) if mask is None else mask
  p = jnp.exp(masking.fill_masked(log_probs, mask, -jnp.inf))
  right, wrong = correct & mask, ~correct & mask
  first, single = _first_and_single(items, mask)
  once = lambda x, kind: masking.masked_sum(x, kind & first, -1)
  share = lambda x, kind: masking.masked_mean(
      masking.fill_masked(x, kind), mask, -1
  )
  pull = correct_reward * once(p, right) + wrong_reward * once(p, wrong)
  return _balance(
      _Parts(
          tuple(share(jnp.ones_like(p), kind) for kind in (right, wrong)),
          tuple(once(jnp.square(p), kind) for kind in (right, wrong)),
          tuple(share(p, kind & single) for kind in (right, wrong)),
      ),
      pull,
      (correct_reward, wrong_reward),
      learning_rate / num_samples,
  )


def _first_and_single(items, mask):
  """Samples that are the first of their item, and those that are the only."""
  equal = items[..., :, None] == items[..., None, :]
  equal &= mask[..., :, None] & mask[..., None, :]
  before = jnp.tril(jnp.ones(equal.shape[-2:], bool), -1)
  before = before.reshape((1,) * (items.ndim - 1) + before.shape)
  return ~jnp.any(equal & before, -1), jnp.sum(equal, axis=-1) == 1
