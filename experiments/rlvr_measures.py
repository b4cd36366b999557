"""What tokens and the policy say of samples, for `experiments.rlvr_rewards`.

Axes: B prompts, G samples, T tokens, L tokens of a reference answer.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from experiments import rlvr_policy
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems
from rewardjax.models import transformer
from rewardjax.policies import log_probs
from rewardjax.rewards import likelihood, marks
from rewardjax.types import Reward, Rollouts

# Rewards that may stand beside the source, in their order.
BESIDE = ("likelihood", "majority", "format", "form")
_VOTERS = {"majority", "twin", "format"}


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


def beside_names(config) -> tuple[str, ...]:
  """The rewards beside the source that are switched on, in their order."""
  return tuple(name for name in BESIDE if config.beside[name].weight)


def uses(config, names: set[str]) -> bool:
  return bool(names & {config.reward.name, *beside_names(config)})


def counts_votes(config) -> bool:
  """Whether anything depends on which answers are equal."""
  return uses(config, _VOTERS)


def reads_text(config) -> tuple[str, ...]:
  """The fields that have completions read on the host, verifiers apart."""
  fields = {
      "beside.form.weight": uses(config, {"form"}),
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
  if uses(setup.config, {"likelihood"}):
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
  value = answer_likelihood(setup, params, problems, rollouts.tokens, working)
  if o.debias:
    tokens = jnp.zeros((*working.shape[:1], 1, 1), rollouts.tokens.dtype)
    bare = answer_likelihood(
        setup, params, problems, tokens, jnp.zeros(tokens.shape, bool)
    )
    value = likelihood.debiased(value, bare)
  known = jnp.any(problems.answer_mask, -1)[:, None]
  known &= jnp.any(rollouts.mask, axis=-1)
  if o.likelihood == "jensen":
    value = likelihood.jensen_gains(value, known)
  return Reward(value, known)


def answer_likelihood(setup, params, problems, tokens, working):
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
  kind = setup.config.reward.likelihood
  kind = "log_prob" if kind == "jensen" else kind
  return likelihood.answer_likelihood(scores.log_probs, spread(mask), kind=kind)
