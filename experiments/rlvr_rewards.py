"""What the policy of `experiments.rlvr` is paid for, and what beside it.

    source -> liar -> correction -> tiers, length -> plus rewards beside it

The source (`config.reward`) takes the place of the verifier's verdict; noise
and corrections act on it and on nothing else. Rewards beside it
(`config.beside`) are added as they are found. Axes: B prompts, G samples, T
tokens, M rewards beside the source.
"""

from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from experiments import rlvr_policy, rlvr_stages
from experiments.choices import choose
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems
from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean
from rewardjax.models import transformer
from rewardjax.policies import log_probs
from rewardjax.recipes import agreement, multi_reward
from rewardjax.rewards import likelihood, marks, variants
from rewardjax.shaping import aggregation, transforms
from rewardjax.types import Reward, Rollouts


class Found(NamedTuple):
  """What rewards are made of; None where the config asks for none of it.

  verdict: of the verifier, before the liar.
  votes: ids of the answers, equal in a group (or a pair of groups) where the
    answers are; negative where there is none.
  likelihood: of the reference answer after the sample's working.
  form: of the text.
  """

  verdict: Reward
  votes: Int[Array, "B G"] | None = None
  likelihood: Reward | None = None
  form: Reward | None = None


# (found, samples that exist, key) -> Reward: what may be learned from instead
# of the verdicts, or beside them.
SOURCES = {
    "verifier": lambda found, exists, key: found.verdict,
    "majority": lambda found, exists, key: agreement.majority_reward(
        found.votes, exists
    ),
    "twin": lambda found, exists, key: agreement.twin_reward(
        found.votes, exists
    ),
    "likelihood": lambda found, exists, key: found.likelihood,
    "format": lambda found, exists, key: variants.format_reward(
        found.votes >= 0, exists.valid
    ),
    "random": lambda found, exists, key: variants.random_reward(
        key, exists.valid
    ),
    "inverted": lambda found, exists, key: variants.inverted_reward(
        found.verdict.value > 0, found.verdict.valid
    ),
}
BESIDE = ("likelihood", "majority", "format", "form")
VOTES = ("tokens", "numbers")
GATES = ("always", "reached", "missed")
COMBINE = ("sum", "normalized")
_VOTERS = {"majority", "twin", "format"}


def beside_names(config) -> tuple[str, ...]:
  """The rewards beside the source that are switched on, in their order."""
  return tuple(name for name in BESIDE if config.beside[name].weight)


def _uses(config, names: set[str]) -> bool:
  return bool(names & {config.reward.name, *beside_names(config)})


def counts_votes(config) -> bool:
  """Whether anything depends on which answers are equal."""
  return _uses(config, _VOTERS)


def reads_text(config) -> tuple[str, ...]:
  """The fields that have completions read on the host, verifiers apart."""
  fields = {
      "beside.form.weight": _uses(config, {"form"}),
      "reward.votes": counts_votes(config)
      and config.reward.votes == "numbers",
  }
  return tuple(name for name, read in fields.items() if read)


def measure(
    setup: Setup,
    params: PyTree,
    problems: Problems,
    rollouts: Rollouts,
    verdict: Reward,
) -> Found:
  """All that the tokens and the policy say; pure, of one seed."""
  votes = paid = None
  parts = marks.split(
      rollouts.tokens,
      rollouts.mask,
      mark=setup.mark,
      stop_tokens=setup.stop_tokens,
  )
  if counts_votes(setup.config):
    votes = _ids(setup.config, rollouts, parts.answer)
  if _uses(setup.config, {"likelihood"}):
    paid = _likelihood(setup, params, problems, rollouts, parts.working)
  return Found(verdict, votes, paid)


def _ids(config, rollouts, answer):
  """Who ran out of room never said that the answer was finished."""
  said = answer & ~rollouts.truncated[..., None]
  if config.reward.name != "twin":
    return marks.answer_ids(rollouts.tokens, said)
  # Two wordings, one above the other, are one group of answers.
  batch, group, length = rollouts.tokens.shape
  pairs = lambda x: x.reshape(batch // 2, 2 * group, length)
  ids = marks.answer_ids(pairs(rollouts.tokens), pairs(said))
  return ids.reshape(batch, group)


def _likelihood(setup, params, problems, rollouts, working):
  """Of the reference answer, less that without any working if asked for."""
  o = setup.config.reward
  value = _answer_likelihood(setup, params, problems, rollouts.tokens, working)
  if o.debias:
    tokens = jnp.zeros((*working.shape[:1], 1, 1), rollouts.tokens.dtype)
    bare = _answer_likelihood(
        setup, params, problems, tokens, jnp.zeros(tokens.shape, bool)
    )
    value = likelihood.debiased(value, bare)
  known = jnp.any(problems.answer_mask, -1)[:, None]
  return Reward(value, jnp.any(rollouts.mask, axis=-1) & known)


def _answer_likelihood(setup, params, problems, tokens, working):
  """`[B, G]`, by the plain model: the sampling law is not the model's own."""
  policy = rlvr_policy.language_model(setup, params)
  answers, mask = problems.answers[:, None], problems.answer_mask[:, None]
  done = marks.append_answers(
      tokens, working, answers, mask, mark=setup.mark
  )
  features = transformer.completion_features(
      setup.model,
      policy,
      problems.prompts,
      problems.prompt_mask,
      done.tokens,
      done.mask,
  )
  # Only the answer is scored: the vocabulary is the widest axis there is.
  at = done.start[..., None] + jnp.arange(answers.shape[-1])[None, None]
  at = jnp.minimum(at, features.shape[-2] - 1)
  features = jnp.take_along_axis(features, at[..., None], axis=-2)
  spread = lambda x: jnp.broadcast_to(x, at.shape)
  table = transformer.unembedding(setup.model, policy)
  scores = log_probs.score_features(
      features, table, spread(answers), spread(mask)
  )
  return likelihood.answer_likelihood(
      scores.log_probs, spread(mask), kind=setup.config.reward.likelihood
  )


def outcome(config, key, found: Found, rollouts: Rollouts) -> Reward:
  """What the source says; `key` is consumed by "random" alone."""
  exists = jnp.any(rollouts.mask, axis=-1)
  exists = Reward(exists.astype(jnp.float32), exists)
  return SOURCES[config.reward.name](found, exists, key)


def beside(config, found: Found, rollouts: Rollouts) -> Reward | None:
  """The rewards beside the source `[B, G, M]`; None if there are none."""
  names = beside_names(config)
  if not names:
    return None
  exists = jnp.any(rollouts.mask, axis=-1)
  exists = Reward(exists.astype(jnp.float32), exists)
  table = SOURCES | {"form": lambda found, exists, key: found.form}
  return _stack([table[name](found, exists, None) for name in names])


def _stack(rewards):
  # One that is unknown may be NaN.
  filled = [r._replace(value=masking.fill_masked(*r)) for r in rewards]
  return jax.tree.map(lambda *x: jnp.stack(x, -1), *filled)


def _gated(part: Reward, verdict: Reward, options) -> Reward:
  """Where the source says what the gate asks for; 0 elsewhere."""
  if options.gate == "always":
    return part
  value, steps = masking.fill_masked(*verdict), part.value[..., None]
  if options.gate == "reached":
    steps = transforms.gate_steps(value, steps, threshold=options.threshold)
    paid = steps[..., 0]
  else:
    nothing = jnp.zeros_like(value)
    paid = jnp.where(value < options.threshold, part.value, nothing)
  return Reward(paid, part.valid & verdict.valid)


def total(reward: Reward, seen, rollouts: Rollouts, config) -> Reward:
  """The corrected reward in tiers, less length, plus what is beside it.

  Args:
    reward: corrected, `[B, G]`.
    seen: `rlvr_learner.Seen`; gates read what was observed.
    rollouts: whole groups.
    config: of the arm.

  Returns:
    One reward per sample; with "normalized", its advantage.
  """
  o, names = config.shaping, beside_names(config)
  if o.tiers:
    value = transforms.quantize(masking.fill_masked(*reward), num_tiers=o.tiers)
    reward = reward._replace(value=value)
  reward = rlvr_stages.shape_reward(reward, rollouts, o)
  if not names:
    return reward
  parts = [
      _gated(jax.tree.map(lambda x: x[..., i], seen.beside),  # noqa: B023
             seen.observed, config.beside[name])
      for i, name in enumerate(names)
  ]  # fmt: skip
  weights = jnp.array([1.0, *(config.beside[name].weight for name in names)])
  rewards = _stack([reward, *parts])
  if o.combine == "sum":
    return aggregation.weighted_sum(*rewards, weights=weights)
  credit = multi_reward.multi_reward_credit(rollouts, rewards, weights=weights)
  return Reward(credit.advantages[..., 0], jnp.any(rewards.valid, axis=-1))


def metrics(config, seen) -> dict[str, Array]:
  """The mean of each reward beside the source, before weights and gates."""
  rows = {}
  for i, name in enumerate(beside_names(config)):
    part = jax.tree.map(lambda x: x[..., i], seen.beside)  # noqa: B023
    rows[f"beside/{name}"] = Mean.of(*part).value
  return rows


def check(config) -> None:
  """Raises ValueError, naming the field, unless the rewards make sense."""
  for field, table, name in (
      ("reward.name", SOURCES, config.reward.name),
      ("reward.votes", VOTES, config.reward.votes),
      ("reward.likelihood", get_args(likelihood.Kind), config.reward.likelihood),
      ("shaping.combine", COMBINE, config.shaping.combine),
      *((f"beside.{x}.gate", GATES, config.beside[x].gate) for x in BESIDE),
  ):
    choose(field, dict.fromkeys(table), name)
  checks.at_least("config", 0, **{"shaping.tiers": config.shaping.tiers})
  _check_binary(config)
  _check_twin(config)
  _check_likelihood(config)
  if config.shaping.combine == "normalized":
    _check_normalized(config)


def _check_binary(config) -> None:
  """What noise and corrections say of verdicts holds for 0 and 1 only."""
  name = config.reward.name
  lies = config.noise.name != "none" or config.correction.name != "none"
  if lies and name in ("likelihood", "random"):
    raise ValueError(
        f"config.reward.name {name!r} is no verdict: config.noise.name and "
        "config.correction.name must be 'none'."
    )
  if config.shaping.tiers and config.correction.name != "none":
    raise ValueError(
        f"config.shaping.tiers = {config.shaping.tiers} would cut off what "
        f"config.correction.name {config.correction.name!r} adds: one of them "
        "must be off."
    )


def _check_twin(config) -> None:
  if config.reward.name != "twin":
    return
  if not config.task.rewording:
    raise ValueError(
        "config.reward.name 'twin' needs two wordings of each prompt: set "
        "config.task.rewording."
    )
  if config.sampling.max_refills:
    raise ValueError(
        "config.sampling.max_refills must be 0 for config.reward.name 'twin': "
        "a refilled group has no twin."
    )
  if config.reward.votes != "tokens":
    raise ValueError(
        "config.reward.votes must be 'tokens' for config.reward.name 'twin', "
        f"got {config.reward.votes!r}."
    )


def _check_likelihood(config) -> None:
  o = config.reward
  if o.debias and o.likelihood in ("log_prob", "mean_log_prob"):
    raise ValueError(
        "config.reward.debias needs a probability for "
        f"config.reward.likelihood, got {o.likelihood!r}."
    )


def _check_normalized(config) -> None:
  o = config.credit
  if (o.name, o.estimator, o.whiten) != ("group", "none", False):
    raise ValueError(
        "config.shaping.combine 'normalized' makes advantages already: "
        "config.credit must have name 'group', estimator 'none' and "
        "whiten=False."
    )
