"""Losses on the difference of two rewards: what a comparison teaches.

A difference is r(chosen) - r(rejected). What a prompt adds to all of its
rewards cancels: rewards of different prompts are comparable only after a
penalty (`centre_penalty`) or a standardisation.
"""

import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, links, masking
from rewardjax.types import Scalar

# Of a hyper-parameter: one number, or one per pair.
PerPair = Scalar | Float[Array, "*#batch"]


def _held(where, diff, **values):
  """Data of each pair as constants of the shape and dtype of `diff`."""
  checks.broadcasts_to(where, diff.shape, **values)
  spread = lambda x: jnp.broadcast_to(jnp.asarray(x, diff.dtype), diff.shape)
  return [jax.lax.stop_gradient(spread(x)) for x in values.values()]


def pairwise_logistic(
    diff: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    target: PerPair = 1.0,
    margin: PerPair = 0.0,
    beta: PerPair = 1.0,
    weight: PerPair = 1.0,
) -> Float[Array, "*batch"]:
  """Cross-entropy of a comparison and sigmoid(beta (diff - margin)).

      weight (-target log sigmoid(z) - (1 - target) log sigmoid(-z)),
      z = beta (diff - margin)

  Defaults: Bradley-Terry. `margin` = strength of the preference: margin
  Bradley-Terry. `weight` = strength: scaled Bradley-Terry. `target` = 1 - e:
  label smoothing; 0: the pair flipped; anything between: a soft label.
  `beta` per pair: trust in it.

  Args:
    diff: r(chosen) - r(rejected), or a difference of implicit rewards.
    mask: True for real pairs; None means all are.
    target: probability that the chosen one is better, in [0, 1].
    margin: in reward units; -margin for a pair that is flipped.
    beta: nats per reward unit, positive.
    weight: at least 0.

  Returns:
    Nats per pair, float32 or wider, 0 where masked; reduce with `Mean.of`
    and the same mask.

  Gradient: flows through `diff`, -weight beta (target - sigmoid(z)); the
    rest is data and held.

  Raises:
    ValueError: if a shape does not fit or a Python number is out of range.

  References:
    Bradley and Terry, "Rank analysis of incomplete block designs", 1952.
    Wang et al., "HelpSteer2-Preference: Complementing Ratings with
      Preferences", 2024 (scaled).
    Touvron et al., "Llama 2", 2023 (margin).
  """
  where = "pairwise_logistic"
  checks.same_shape(where, diff=diff, mask=mask)
  checks.probability(where, target=target)
  checks.within(where, 0.0, low_open=True, beta=beta)
  checks.at_least(where, 0.0, weight=weight)
  diff = masking.fill_masked(diff, mask)
  target, margin, beta, weight = _held(
      where, diff, target=target, margin=margin, beta=beta, weight=weight
  )
  losses = links.mixed(beta * (diff - margin), target, 1 - target)
  return masking.fill_masked(weight * losses, mask)


def centre_penalty(
    chosen: Float[Array, "*batch"],
    rejected: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """(r_chosen + r_rejected)^2: pins the offset that comparisons leave free.

  With a small weight the two rewards of a pair lie symmetrically about 0, so
  that members of an ensemble, and prompts, share one scale.

  Returns:
    Squared reward units, 0 where masked.

  Gradient: flows through both rewards.

  References:
    Eisenstein et al., "Helping or Herding?", 2023.
  """
  checks.same_shape(
      "centre_penalty", chosen=chosen, rejected=rejected, mask=mask
  )
  chosen = masking.fill_masked(chosen, mask)
  return jnp.square(chosen + masking.fill_masked(rejected, mask))


def zero_penalty(
    chosen: Float[Array, "*batch"],
    rejected: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """(r_chosen^2 + r_rejected^2) / 2: bounds the scale as well.

  Unlike `centre_penalty` it also pulls the two rewards together.

  Returns:
    Squared reward units, 0 where masked.

  Gradient: flows through both rewards.
  """
  checks.same_shape(
      "zero_penalty", chosen=chosen, rejected=rejected, mask=mask
  )
  squares = lambda x: jnp.square(masking.fill_masked(x, mask))
  return 0.5 * (squares(chosen) + squares(rejected))


class TieProbabilities(NamedTuple):
  """Of the first being better, of the second, of a tie, in nats; sum 1."""

  first: Float[Array, "*batch"]
  second: Float[Array, "*batch"]
  tie: Float[Array, "*batch"]


def rao_kupper_log_probs(
    diff: Float[Array, "*batch"], *, tie_factor: Scalar
) -> TieProbabilities:
  """Bradley-Terry with ties, k = tie_factor.

      P(first) = sigmoid(diff - log k),   P(second) = sigmoid(-diff - log k)
      P(tie) = (k^2 - 1) P(first) P(second)

  Args:
    diff: r(first) - r(second), in nats.
    tie_factor: k >= 1; at 1 no tie is possible: its log-probability is -inf.

  Gradient: flows through `diff`, and through `tie_factor` where it is above
    1, so that k can be fitted.

  Raises:
    ValueError: if `tie_factor` is a Python number below 1.

  References:
    Rao and Kupper, "Ties in Paired-Comparison Experiments", 1967.
  """
  checks.at_least("rao_kupper_log_probs", 1.0, tie_factor=tie_factor)
  diff = masking.as_accumulator(diff)
  k = jnp.asarray(tie_factor, diff.dtype)
  first = jax.nn.log_sigmoid(diff - jnp.log(k))
  second = jax.nn.log_sigmoid(-diff - jnp.log(k))
  possible = k > 1
  # (k - 1) (k + 1): the square loses the digits of a k near 1.
  odds = jnp.where(possible, (k - 1) * (k + 1), 1.0)
  tie = jnp.where(possible, jnp.log(odds) + first + second, -jnp.inf)
  return TieProbabilities(first, second, tie)


def rao_kupper(
    diff: Float[Array, "*batch"],
    outcome: Int[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    tie_factor: Scalar,
) -> Float[Array, "*batch"]:
  """-log of the probability of what was observed, ties included.

  Args:
    diff: r(first) - r(second), in nats.
    outcome: 1 the first is better, -1 the second, 0 a tie.
    mask: True for real comparisons; a missing label must be masked.
    tie_factor: k >= 1, see `rao_kupper_log_probs`. At 1 the loss of a tie is
      +inf, with gradient 0.

  Returns:
    Nats per pair, 0 where masked.

  Gradient: flows through `diff` and `tie_factor`.

  Raises:
    ValueError: if shapes differ or `tie_factor` is below 1.
  """
  checks.same_shape("rao_kupper", diff=diff, outcome=outcome, mask=mask)
  checks.at_least("rao_kupper", 1.0, tie_factor=tie_factor)
  diff = masking.fill_masked(diff, mask)
  log_probs = rao_kupper_log_probs(diff, tie_factor=tie_factor)
  decided = jnp.where(outcome > 0, log_probs.first, log_probs.second)
  seen = jnp.where(outcome == 0, log_probs.tie, decided)
  return masking.fill_masked(-seen, mask)


class Pairs(NamedTuple):
  """All pairs of K ranked items: [i, j] says by how much i beats j."""

  diff: Float[Array, "*batch K K"]
  valid: Bool[Array, "*batch K K"]


def listwise_pairs(
    rewards: Float[Array, "*batch K"],
    ranks: Int[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Pairs:
  """Every pair of a ranked list, the better one first; ties make no pair.

  Args:
    rewards: of the model.
    ranks: smaller is better; equal ranks are ties.
    mask: True for real items.

  Returns:
    `Pairs`; `diff` is 0 where not valid. The loss of a prompt is the masked
    mean of a link over its pairs, so that long lists do not outweigh others.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("listwise_pairs", rewards=rewards, ranks=ranks, mask=mask)
  rewards = masking.fill_masked(rewards, mask)
  valid = ranks[..., :, None] < ranks[..., None, :]
  if mask is not None:
    valid = valid & mask[..., :, None] & mask[..., None, :]
  diff = rewards[..., :, None] - rewards[..., None, :]
  return Pairs(masking.fill_masked(diff, valid), valid)


def popularity_pairs(
    counts: Float[Array, "*batch K"],
    low: Scalar,
    high: Scalar,
    views: Float[Array, "*batch K"] | None = None,
    mask: Bool[Array, "*batch K"] | None = None,
) -> Bool[Array, "*batch K K"]:
  """[i, j] says that item i of a prompt is popular and item j is not.

  Args:
    counts: how often each of K items of one prompt was chosen.
    low: an item is unpopular up to here.
    high: an item is popular from here on; above `low`.
    views: how often each was shown: popularity is then counts / views, and
      an item that nobody saw is in no pair. None: the counts themselves,
      which favour what was shown for longer.
    mask: True for real items.

  Raises:
    ValueError: if shapes differ, or `low` is not below `high`.

  References:
    Isajanyan et al., "Social Reward", 2024.
  """
  where = "popularity_pairs"
  checks.same_shape(where, counts=counts, views=views, mask=mask)
  if isinstance(low, numbers.Real):
    checks.within(where, low, low_open=True, high=high)
  seen = jnp.ones(counts.shape, bool) if mask is None else mask
  if views is not None:
    seen = seen & (views > 0)
    counts = masking.safe_divide(counts, views)
  popular, unpopular = seen & (counts >= high), seen & (counts <= low)
  return popular[..., :, None] & unpopular[..., None, :]
