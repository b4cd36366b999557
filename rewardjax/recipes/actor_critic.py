"""Proximal policy optimisation: a policy and its critic in one loss.

The arguments that it shares with the other recipes are explained in
`recipes.policy_gradient`.
"""

from jaxtyping import Array, Float

from rewardjax.core import reduction
from rewardjax.core.masking import Mean, fill_masked
from rewardjax.objectives import value
from rewardjax.recipes.credit import Credit, credit_of, gae_credit
from rewardjax.recipes.losses import clipped, policy_loss
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]


def ppo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    values: Tokens,
    behavior_values: Tokens | None = None,
    bootstrap: Float[Array, "B G"] | None = None,
    reference_log_probs: Tokens | None = None,
    kl_coefficient: Scalar = 0.0,
    discount: Scalar = 1.0,
    decay: Scalar = 0.95,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    value_clip: Scalar = 0.2,
    value_coefficient: Scalar = 0.1,
) -> LossAndMetrics:
  """Clipped policy and value losses; advantages of a critic, whitened.

  Credit: `gae_credit`, on the whole batch, with k1 in the reward. `values`
  are those of the critic in training, before each token, and carry gradient;
  `behavior_values` those at collection (None: it has not moved yet); for
  `bootstrap`, the value after the last token, see `gae_credit`.

  Raises:
    ValueError: if `reward` is a Credit without returns and values.

  References:
    Schulman et al., "Proximal Policy Optimization Algorithms", 2017,
      arXiv:1707.06347.
  """
  anchor = dict(reference_log_probs=reference_log_probs)
  credit = credit_of(
      rollouts, reward, gae_credit,
      values if behavior_values is None else behavior_values,
      kl_coefficient=kl_coefficient, discount=discount, decay=decay,
      bootstrap=bootstrap, **anchor,
  )
  if credit.returns is None or credit.values is None:
    raise ValueError("ppo: reward must be a Credit with returns and values.")
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  policy, metrics = policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )
  arrays = (values, credit.values, credit.returns)
  arrays = (fill_masked(x, credit.mask) for x in arrays)
  errors = value.clipped_value_loss(*arrays, clip=value_clip)
  critic = reduction.token_mean(errors, credit.mask)
  # One reducer and one mask: the weights are equal, so the totals add.
  loss = Mean(policy.total + value_coefficient * critic.total, policy.weight)
  return loss, metrics | {"policy_loss": policy, "value_loss": critic}
