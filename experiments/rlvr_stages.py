"""What a config string may name in `experiments.rlvr`, stage by stage.

Each table maps a name to a function; an unknown name is an error that lists
the table. Axes: B prompts, G samples, T tokens, K kinds of problem.
"""

from functools import partial

import jax.numpy as jnp

from experiments.choices import choose
from rewardjax.advantages import group
from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from rewardjax.noise import channels, corrections
from rewardjax.objectives import policy_gradient, value
from rewardjax.recipes import losses
from rewardjax.recipes.credit import gae_credit, group_credit, return_credit
from rewardjax.shaping import length
from rewardjax.types import NoiseRates, Reward, Rollouts

GROUP_ESTIMATORS = {
    "none": lambda o: group.constant_baseline,
    "constant": lambda o: partial(group.constant_baseline, baseline=o.baseline),
    "centered": lambda o: group.centered,
    "leave_one_out": lambda o: group.leave_one_out,
    "standardized": lambda o: partial(
        group.standardized, epsilon=o.epsilon, ddof=o.ddof
    ),
    "batch_scaled": lambda o: partial(
        group.batch_scaled, epsilon=o.epsilon, ddof=o.ddof
    ),
    "bernoulli_standardized": lambda o: group.bernoulli_standardized,
}
# Group statistics of one sample say nothing.
NEEDS_GROUP = set(GROUP_ESTIMATORS) - {"none", "constant"}

# (rollouts, reward, values, options, anchor) -> Credit; the anchor puts k1
# into the reward.
CREDITS = {
    "group": lambda rollouts, reward, values, o, anchor: group_credit(
        rollouts,
        reward,
        GROUP_ESTIMATORS[o.estimator](o),
        whiten=o.whiten,
        **anchor,
    ),
    "return": lambda rollouts, reward, values, o, anchor: return_credit(
        rollouts,
        reward,
        discount=o.discount,
        baseline=o.baseline,
        whiten=o.whiten,
        **anchor,
    ),
    "gae": lambda rollouts, reward, values, o, anchor: gae_credit(
        rollouts,
        reward,
        values,
        discount=o.discount,
        decay=o.decay,
        whiten=o.whiten,
        **anchor,
    ),
}

RATIOS = {
    "token": policy_gradient.token_ratio,
    "sequence_mean": policy_gradient.sequence_mean_ratio,
    "sequence": policy_gradient.sequence_ratio,
}

SURROGATES = {
    "score": lambda o: losses.score(),
    "clipped": lambda o: losses.clipped(
        clip_low=o.clip_low,
        clip_high=o.clip_high,
        dual_clip=o.dual_clip or None,
        ratio=choose("surrogate.ratio", RATIOS, o.ratio),
    ),
    "detached": lambda o: losses.detached(
        low=1.0 - o.clip_low, high=1.0 + o.clip_high
    ),
}

REDUCERS = {
    "token_mean": reduction.token_mean,
    "sequence_mean": reduction.sequence_mean,
    "sequence_sum_mean": reduction.sequence_sum_mean,
    "group_mean": reduction.group_mean,
    "fixed_length_mean": lambda values, mask: reduction.fixed_length_mean(
        values, mask, length=mask.shape[-1]
    ),
}

CORRECTIONS = {
    "none": lambda observed, rates, o: observed,
    "backward": lambda observed, rates, o: corrections.backward_reward(
        observed, rates, min_youden=o.min_youden
    ),
    "forward": lambda observed, rates, o: corrections.forward_weight(
        observed, rates
    ),
    "mirror": lambda observed, rates, o: (
        corrections.forward_weight_from_false_positive(observed, rates)
    ),
}
# Where the rates that a correction is told come from.
RATE_SOURCES = ("noise", "given", "appeals")


def rates_by_kind(options, num_kinds: int) -> NoiseRates:
  """The rates `[K]` of each kind, from one number or K numbers in a config."""
  spread = lambda r: jnp.broadcast_to(jnp.asarray(r, jnp.float32), (num_kinds,))
  return NoiseRates(
      spread(options.false_positive), spread(options.false_negative)
  )


def of_prompts(table: NoiseRates, kinds) -> NoiseRates:
  """Rates `[B, 1]` of prompts whose kinds are `[B]`."""
  return NoiseRates(*(rate[kinds][:, None] for rate in table))


def observe(key, truth: Reward, kinds, options, num_kinds: int) -> Reward:
  """What a simulated liar says of the samples; unknown ones stay unknown."""
  if options.name == "none":
    return truth
  rates = of_prompts(rates_by_kind(options, num_kinds), kinds)
  labels = masking.fill_masked(truth.value, truth.valid)
  observed = channels.flip_binary(
      key, labels, rates, per_group=options.per_group
  )
  return Reward(observed, truth.valid)


def shape_reward(
    reward: Reward, rollouts: Rollouts, options, observed: Reward
) -> Reward:
  """Adds what length costs; `observed` outcomes say which samples are right."""
  value = reward.value
  if options.overlong_buffer:
    value += length.overlong_penalty(
        jnp.sum(rollouts.mask, axis=-1),
        max_length=rollouts.mask.shape[-1],
        buffer=options.overlong_buffer,
        factor=options.overlong_factor,
    )
  if options.missing_stop:
    value += length.missing_stop_penalty(
        rollouts.truncated, penalty=options.missing_stop
    )
  if options.short_penalty:
    value += length.group_length_penalty(
        jnp.sum(rollouts.mask, axis=-1),
        masking.fill_masked(*observed) > 0.5,
        observed.valid,
        max_penalty=options.short_penalty,
        tolerance=options.short_tolerance,
    )
  return Reward(value, reward.valid)


def credit(config, rollouts: Rollouts, reward: Reward, scored, early=None):
  """Credit from shaped rewards, as `config.credit` says.

  `scored` is a `rlvr_recipes.Scored`; `early` `[B, G, T]` is the part of a
  reward that is paid before the end, or None.
  """
  anchor = dict(
      reference_log_probs=scored.reference,
      kl_coefficient=config.regularizer.kl_in_reward,
  )
  if config.credit.name != "group":  # who has no place for it in time
    anchor["early_rewards"] = early
  assign = CREDITS[config.credit.name]
  return assign(rollouts, reward, scored.values, config.credit, anchor)


def loss(config, rollouts: Rollouts, credit, scored, trained):
  """Surrogate, reducer and regularizers of the config, and their metrics.

  `trained` is a `rlvr_recipes.Trained`.
  """
  o, mask = config.regularizer, credit.mask
  surrogate = SURROGATES[config.surrogate.name](config.surrogate)
  reduce = REDUCERS[config.reducer]
  found, metrics = losses.policy_loss(
      trained.log_probs,
      rollouts,
      credit,
      surrogate,
      reduce,
      reference_log_probs=scored.reference,
      kl_coefficient=o.kl_coefficient,
      kl_estimator=o.kl_estimator,
  )
  terms = [(-o.entropy_coefficient, trained.entropies)]
  if credit.returns is not None:
    errors = value.clipped_value_loss(
        trained.values, credit.values, credit.returns, clip=o.value_clip
    )
    metrics["value_loss"] = Mean.of(errors, mask)
    terms.append((o.value_coefficient, errors))
  for coefficient, values in terms:
    # One reducer and one mask: the weights are equal, so totals add.
    extra = coefficient * reduce(values, mask).total
    found = Mean(found.total + extra, found.weight)
  return found, metrics
