"""The model of `experiments.rlvr`: parameters, scoring, exact success.

Everything is pure and for one seed; the experiment maps it over seeds.
Axes: B prompts, G samples, T tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
from jaxtyping import Array, Float, Key, PyTree

from experiments import rlvr_recipe_calls, rlvr_recipes, worlds
from experiments.tasks import Problems
from rewardjax.core import mapping, packing
from rewardjax.models import (
    heads,
    lora,
    pretrained,
    transformer,
)
from rewardjax.policies import log_probs
from rewardjax.policies.laws import SamplingLaw
from rewardjax.search.tries import Trie
from rewardjax.types import Rollouts


class Setup(NamedTuple):
  """What stays fixed while agents learn; nothing here is traced.

  `arms` are compiled into one program. They agree on everything but the
  cheap stages between verdicts and credit; `config` is any one of them.
  """

  arms: dict[str, mlc.FrozenConfigDict]
  model: transformer.Transformer
  stop_tokens: tuple[int, ...]
  # Parameters that adapters are attached to, shared by all seeds and arms;
  # None where the parameters themselves are trained.
  frozen: PyTree = None
  # What stands between working and answer; empty: there is no working.
  mark: tuple[int, ...] = ()
  # What stands between steps; empty: steps are so many tokens.
  separator: tuple[int, ...] = ()
  # All there is to be said, where samples are searched for.
  catalogue: Trie | None = None
  # What answers between the turns of an episode; None: there is one turn.
  world: worlds.Spoken | None = None

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
  def needs(self) -> rlvr_recipes.Needs:
    """What has to be computed for every arm of this program."""
    return rlvr_recipe_calls.needs(self.config)

  @property
  def value_head(self) -> heads.ValueHead | None:
    """Reads values off the policy's features, where a critic is needed."""
    return heads.ValueHead() if self.needs.critic else None


class Scores(NamedTuple):
  """What the current parameters say of sampled tokens; 0 where masked."""

  log_probs: Float[Array, "B G T"]
  entropies: Float[Array, "B G T"]
  values: Float[Array, "B G T"]


# Of config.model: what a pretrained model has from its checkpoint.
SIZES = (
    "width",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "mlp_width",
    "tied",
)


def make_model(options, tokenizer, place: Callable | None = None):
  """The network of `config.model`, and its parameters if it is pretrained."""
  fields = dict(options)
  name = fields.pop("pretrained")
  fields["dtype"] = jnp.dtype(fields["dtype"])
  if not name:
    vocab_size = tokenizer.vocab_size
    return transformer.Transformer(vocab_size=vocab_size, **fields), None
  fields = {k: v for k, v in fields.items() if k not in SIZES}
  if place is not None:
    fields["place"] = place
  return pretrained.load(pretrained.find(name), **fields)


def make_setup(arms, model, tokenizer, pretrained_params: PyTree) -> Setup:
  """What one group of arms is compiled for."""
  setup = Setup(arms, model, tokenizer.stop_tokens)
  read = lambda text: tuple(tokenizer.encode(text))
  setup = setup._replace(
      mark=read(setup.config.task.answer_mark),
      separator=read(setup.config.steps.separator),
      world=worlds.make(setup.config, tokenizer),
  )
  adapts = setup.config.lora.rank > 0
  return setup._replace(frozen=pretrained_params if adapts else None)


def init_policy(setup: Setup, key: Key[Array, ""]) -> PyTree:
  """Fresh parameters of the language model; `key` is consumed."""
  tokens, mask = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
  return {"policy": setup.model.init(key, tokens, mask)["params"]}


def init_adapters(setup: Setup, key: Key[Array, ""]) -> PyTree:
  """Fresh adapters of the frozen parameters; `key` is consumed."""
  o = setup.config.lora
  parts = tuple(o.match)
  match = lambda path: path.endswith("kernel") and any(x in path for x in parts)
  made = lora.init_lora(key, setup.frozen, rank=o.rank, match=match)
  return {"policy": made}


def language_model(setup: Setup, params: PyTree) -> PyTree:
  """The language model's parameters, adapters attached."""
  if setup.frozen is None:
    return params["policy"]
  scale = setup.config.lora.scale
  return lora.attach(setup.frozen, params["policy"], scale=scale)


def add_value_head(setup: Setup, key: Key[Array, ""], params: PyTree) -> PyTree:
  """`params` with a fresh value head where the credit needs one."""
  if setup.value_head is None:
    return params
  features = jnp.zeros((1, 2, setup.model.width))
  return params | {"value": setup.value_head.init(key, features)["params"]}


def score(
    setup: Setup,
    params: PyTree,
    rollouts: Rollouts,
    law: SamplingLaw | None = None,
) -> Scores:
  """Log-probs and entropies under a law, by default the sampler's; values.

  Of the policy's own tokens: what a world says in between is read only.
  Where `config.sampling.lanes` rows per prompt hold all of its completions
  they are packed into these: short answers then cost what they are long.
  """
  _, group, width = rollouts.mask.shape
  lanes = setup.config.sampling.lanes
  law = law or setup.law
  texts = rollouts.tokens, rollouts.read, rollouts.mask
  padded = lambda params: _score(setup, params, law, *rollouts[:2], *texts)
  if not 0 < lanes < group:
    return padded(params)
  lengths = jnp.sum(rollouts.read, axis=-1)
  plan = packing.first_fit(lengths, lanes=lanes, room=width, width=width)

  def packed(params):
    rows, own = packing.pack(plan, rollouts.tokens), plan.mask
    if rollouts.real is not None:
      own = own & packing.pack(plan, rollouts.mask)
    texts = rows, plan.mask, own, plan.segments
    found = _score(setup, params, law, *rollouts[:2], *texts)
    return Scores(*(packing.unpack(plan, x, width) for x in found))

  fits = mapping.all_mapped(jnp.all(plan.fits))
  return jax.lax.cond(fits, packed, padded, params)


def _score(
    setup, params, law, prompts, prompt_mask, tokens, read, mask, segments=None
):
  policy = language_model(setup, params)
  features = transformer.completion_features(
      setup.model, policy, prompts, prompt_mask, tokens, read, segments
  )
  table = transformer.unembedding(setup.model, policy)
  scores = log_probs.score_features(features, table, tokens, mask, law=law)
  values = jnp.zeros(mask.shape)
  if setup.value_head is not None and "value" in params:
    variables = {"params": params["value"]}
    values = setup.value_head.apply(variables, features, mask)
  return Scores(*scores, values)


def states(
    setup: Setup, params: PyTree, rollouts: Rollouts
) -> Float[Array, "B G W D"]:
  """What the policy has read: before each of T tokens, and after the last."""
  room = ((0, 0), (0, 0), (0, 1))
  tokens, mask = (jnp.pad(x, room) for x in (rollouts.tokens, rollouts.read))
  return transformer.completion_features(
      setup.model,
      language_model(setup, params),
      *rollouts[:2],
      tokens,
      mask,
  )


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
      jax.tree.map(as_group, problems.answer_real),
  )


def exact_success(
    setup: Setup, params: PyTree, problems: Problems
) -> Float[Array, " B"]:
  """Probability that one sample is the reference answer, without sampling."""
  scores = score(setup, params, reference_rollouts(problems))
  return jnp.exp(jnp.sum(scores.log_probs, axis=-1))[:, 0]
