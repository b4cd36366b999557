"""How `experiments.rlvr` draws completions; pure, of one seed.

Axes: B prompts, G samples, T tokens.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from experiments import rlvr_policy
from experiments.choices import choose
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems, Task
from rewardjax.data import loader
from rewardjax.models import incremental, stacking
from rewardjax.policies import decoding, turns
from rewardjax.policies.laws import SamplingLaw
from rewardjax.search import beam, tries
from rewardjax.types import Rollouts

SEARCHES = ("none", "beam")


def sample(setup: Setup, key, params: PyTree, problems: Problems) -> Rollouts:
  """G completions of each prompt; `key` is consumed.

  In `config.sampling.parts` of the group, one after the other: a wide group
  then takes the memory of a part. With a catalogue nothing is drawn: they are
  the likeliest of its items, in order.
  """
  o = setup.config.sampling
  if setup.catalogue is not None:
    return _search(setup, params, problems)
  draw = lambda key: _sample(
      setup, key, params, problems, o.group_size // o.parts, setup.law
  )
  if o.parts == 1:
    return draw(key)
  found = jax.lax.map(draw, jax.random.split(key, o.parts))
  # Prompts are the same in all parts.
  prompts = jax.tree.map(lambda x: x[0], found[:2])
  return Rollouts(*prompts, *jax.tree.map(_join, found[2:]))


def _join(parts):
  """`[parts, B, G / parts, ...]` as `[B, G, ...]`."""
  rows = jnp.moveaxis(parts, 0, 1)
  return rows.reshape(rows.shape[0], -1, *rows.shape[3:])


def answer(setup: Setup, key, params: PyTree, problems: Problems) -> Rollouts:
  """Completions as `config.evaluation` wants them; `key` is consumed."""
  o = setup.config.evaluation
  law = SamplingLaw(0) if o.greedy else setup.law
  num_samples = o.num_samples or setup.config.sampling.group_size
  return _sample(setup, key, params, problems, num_samples, law)


def with_catalogue(setup: Setup, task: Task) -> Setup:
  """The setup with all answers of the task to choose from, if it searches."""
  if setup.config.sampling.search == "none":
    return setup
  columns = (
      loader.collate([rows[i] for i in range(len(rows))])
      for rows in (task.train, task.held_out)
  )
  answers = sorted({text for x in columns for text in x["answer"]})
  tokens, mask = task.tokenizer.encode_answers(answers, task.answer_length)
  items = [row[real].tolist() for row, real in zip(tokens, mask)]
  trie = tries.prefix_trie(items, vocab_size=setup.model.vocab_size)
  return setup._replace(catalogue=trie)


def _search(setup: Setup, params: PyTree, problems: Problems) -> Rollouts:
  """The beams of a search in the catalogue; empty where there is no item."""
  model, policy = stacking.unroll(
      setup.model, rlvr_policy.language_model(setup, params)
  )
  prompts = problems.prompts, problems.prompt_mask
  found = beam.constrained_beam_search(
      incremental.decoder(model),
      policy,
      *prompts,
      setup.catalogue,
      num_beams=setup.config.sampling.group_size,
      max_new_tokens=setup.config.task.answer_length,
  )
  mask = found.mask & found.valid[..., None]
  log_probs = jnp.where(mask, found.log_probs, 0.0)
  ended = jnp.zeros(found.valid.shape, bool)
  return Rollouts(*prompts, found.tokens, mask, log_probs, ended)


def check(config) -> None:
  """Raises ValueError, naming the field, unless groups can be made so."""
  o = config.sampling
  choose("sampling.search", dict.fromkeys(SEARCHES), o.search)
  if o.group_size % o.parts:
    raise ValueError(
        "config.sampling.parts must divide config.sampling.group_size "
        f"{o.group_size}, got {o.parts}."
    )
  if config.reward.name == "ranks" and o.search == "none":
    raise ValueError(
        "config.reward.name 'ranks' reads the places of a search: set "
        "config.sampling.search to 'beam'."
    )
  plain = dict(temperature=1.0, top_k=0, top_p=1.0, parts=1)
  for field, value in plain.items():
    if o.search != "none" and o[field] != value:
      raise ValueError(
          f"config.sampling.{field} must be {value} with config.sampling.search"
          f" {o.search!r}, which draws nothing; got {o[field]}."
      )
  if o.search != "none" and config.task.answer_mark:
    raise ValueError(
        "config.task.answer_mark must be '' with config.sampling.search "
        f"{o.search!r}, which knows answers only; got "
        f"{config.task.answer_mark!r}."
    )


def _sample(setup, key, params, problems, num_samples, law):
  model, policy = stacking.unroll(
      setup.model, rlvr_policy.language_model(setup, params)
  )
  decoder = incremental.decoder(model)
  prompts = problems.prompts, problems.prompt_mask
  if (world := setup.world) is not None:
    return turns.sample(
        key,
        decoder,
        policy,
        *prompts,
        world.states(problems.start),
        world.responder(),
        num_samples=num_samples,
        num_turns=world.num_turns,
        law=law,
        pad_token=world.pad,
    )
  return decoding.sample(
      key,
      decoder,
      policy,
      *prompts,
      num_samples=num_samples,
      max_new_tokens=setup.config.task.answer_length,
      stop_tokens=setup.stop_tokens,
      law=law,
      halvings=setup.config.sampling.halvings,
  )
