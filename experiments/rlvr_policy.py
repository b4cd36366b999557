"""The model of `experiments.rlvr`: sampling, scoring, exact success.

Everything is pure and for one seed; the experiment maps it over seeds.
Axes: B prompts, G samples, T tokens.
"""

from typing import NamedTuple

import jax.numpy as jnp
import ml_collections as mlc
from jaxtyping import Array, Float, Key, PyTree

from experiments.tasks import Problems
from rewardjax.models import heads, transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.policies.laws import SamplingLaw
from rewardjax.types import Rollouts


class Setup(NamedTuple):
  """What stays fixed while agents learn; nothing here is traced.

  `arms` are compiled into one program. They agree on everything but the
  cheap stages between verdicts and credit; `config` is any one of them.
  """

  arms: dict[str, mlc.FrozenConfigDict]
  model: transformer.Transformer
  stop_token: int

  @property
  def config(self) -> mlc.FrozenConfigDict:
    """What the arms have in common, and the first one's own fields."""
    return next(iter(self.arms.values()))

  @property
  def law(self) -> SamplingLaw:
    """The one law that samples, scores and evaluates."""
    o = self.config.sampling
    return SamplingLaw(o.temperature, o.top_k, o.top_p)

  @property
  def value_head(self) -> heads.ValueHead | None:
    """Reads values off the policy's features; only "gae" needs one."""
    needs_values = self.config.credit.name == "gae"
    return heads.ValueHead() if needs_values else None


class Scores(NamedTuple):
  """What the current parameters say of sampled tokens; 0 where masked."""

  log_probs: Float[Array, "B G T"]
  entropies: Float[Array, "B G T"]
  values: Float[Array, "B G T"]


def make_setup(
    arms: dict[str, mlc.FrozenConfigDict], vocab_size: int, stop_token: int
) -> Setup:
  """The model that the configs describe."""
  options = next(iter(arms.values())).model.to_dict()
  options["dtype"] = jnp.dtype(options["dtype"])
  model = transformer.Transformer(vocab_size=vocab_size, **options)
  return Setup(arms, model, stop_token)


def init_policy(setup: Setup, key: Key[Array, ""]) -> PyTree:
  """Fresh parameters of the language model; `key` is consumed."""
  tokens, mask = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
  return {"policy": setup.model.init(key, tokens, mask)["params"]}


def add_value_head(setup: Setup, key: Key[Array, ""], params: PyTree) -> PyTree:
  """`params` with a fresh value head where the credit needs one."""
  if setup.value_head is None:
    return params
  features = jnp.zeros((1, 2, setup.config.model.width))
  return params | {"value": setup.value_head.init(key, features)["params"]}


def sample(setup: Setup, key, params: PyTree, problems: Problems) -> Rollouts:
  """G completions of each prompt; `key` is consumed."""
  return decoding.sample(
      key,
      transformer.decoder(setup.model),
      params["policy"],
      problems.prompts,
      problems.prompt_mask,
      num_samples=setup.config.sampling.group_size,
      max_new_tokens=setup.config.task.answer_length,
      stop_tokens=(setup.stop_token,),
      law=setup.law,
  )


def score(setup: Setup, params: PyTree, rollouts: Rollouts) -> Scores:
  """Log-probs and entropies under the sampling law, and values."""
  mask = rollouts.mask
  features = transformer.completion_features(
      setup.model,
      params["policy"],
      rollouts.prompts,
      rollouts.prompt_mask,
      rollouts.tokens,
      mask,
  )
  table = transformer.unembedding(setup.model, params["policy"])
  scores = log_probs.score_features(
      features, table, rollouts.tokens, mask, law=setup.law
  )
  values = jnp.zeros(mask.shape)
  if setup.value_head is not None and "value" in params:
    variables = {"params": params["value"]}
    values = setup.value_head.apply(variables, features, mask)
  return Scores(*scores, values)


def reference_rollouts(problems: Problems) -> Rollouts:
  """The reference answers as if each were the one sample of its prompt."""
  as_group = lambda x: x[:, None]
  return Rollouts(
      problems.prompts,
      problems.prompt_mask,
      as_group(problems.answers),
      as_group(problems.answer_mask),
      jnp.zeros(as_group(problems.answers).shape),
      jnp.zeros(as_group(problems.kinds).shape, bool),
  )


def exact_success(
    setup: Setup, params: PyTree, problems: Problems
) -> Float[Array, " B"]:
  """Probability that one sample is the reference answer, without sampling."""
  scores = score(setup, params, reference_rollouts(problems))
  return jnp.exp(jnp.sum(scores.log_probs, axis=-1))[:, 0]
