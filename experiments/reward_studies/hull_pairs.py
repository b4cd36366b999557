"""Chosen answers in other words: the corners of a hull, or any (ConvexDA).

The criterion was fixed before the first run; the arm whose rejected answers
are reworded as well came after it, to tell why the criterion was not met.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.reward_studies.beds import synonyms, tokens
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core import masking
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.data import hulls
from rewardjax.diagnostics import comparisons, instructions
from rewardjax.models import pooling
from rewardjax.reward_models import fitting
from rewardjax.reward_models.pairwise import pairwise_logistic
from rewardjax.training import intervals

ARMS = (
    "plain", "random variants", "hull variants", "hull variants of both"
)


class Towers(NamedTuple):
  """A reward: the product of a mean request and a mean answer."""

  meaning: Float[Array, "V H"]
  word: Float[Array, "W H"]

  def asked(self, requests: tokens.Texts) -> Float[Array, "*batch H"]:
    """Mean request."""
    return pooling.mean(self.meaning[requests.tokens], requests.mask)

  def said(self, answers: tokens.Texts) -> Float[Array, "*batch H"]:
    """Mean answer."""
    return pooling.mean(self.word[answers.tokens], answers.mask)

  def __call__(self, requests, answers):
    """The reward of each answer to its request."""
    return jnp.sum(self.asked(requests) * self.said(answers), axis=-1)


def draw_pairs(key, num_pairs, *, asked, length, skills, **words):
  """Requests with two answers of unlike skill, the better one first."""
  keys = split_named(key, "requests", "first", "second")
  requests = synonyms.draw_requests(keys["requests"], num_pairs, length=asked)
  answers = [
      synonyms.draw_answers(
          keys[name], requests, length=length, skill=skill, **words
      )
      for name, skill in zip(("first", "second"), skills)
  ]
  worth = [synonyms.gold(requests, x)[..., None] for x in answers]
  swap = worth[1] > worth[0]
  better = jax.tree.map(lambda a, b: jnp.where(swap, b, a), *answers)
  worse = jax.tree.map(lambda a, b: jnp.where(swap, a, b), *answers)
  return requests, better, worse


def _data(key, *, num_pairs, num_variants, altered, flip_rate, embed, world):
  """Requests, the words of both answers and their variants, and embeddings.

  Words are `[2, N, V, T]`: of what is labelled better and worse, each text
  before its variants.
  """
  keys = split_named(key, "pairs", "flips", "variants", "embeddings")
  requests, better, worse = draw_pairs(keys["pairs"], num_pairs, **world)
  flip = jax.random.bernoulli(keys["flips"], flip_rate, (num_pairs, 1))
  pick = lambda a, b: jnp.where(flip, b, a)
  pairs = jax.tree.map(
      lambda a, b: jnp.stack([pick(a, b), pick(b, a)]), better, worse
  )
  forms = world["num_forms"]
  others = jax.vmap(
      lambda key: synonyms.reword(
          key, pairs, num_changed=altered, num_forms=forms
      ).tokens
  )(jax.random.split(keys["variants"], num_variants))
  words = jnp.moveaxis(jnp.concatenate([pairs.tokens[None], others]), 0, 2)
  table = synonyms.embeddings(keys["embeddings"], num_forms=forms, **embed)
  return requests, words, synonyms.embed(table, words)


def choose_variants(
    places: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Which variants stand in the V rows of a pair, in each arm.

  Args:
    places: `[2, N, V, H]` embeddings of chosen and rejected, the text itself
      first.
    rng: of the random variants.

  Returns:
    `[arms, 2, N, V]` in the order of `ARMS`, and how many of the chosen the
    hull keeps, `[N]`. What is kept is repeated until all V rows are taken, so
    that every arm has as many.
  """
  _, num, size = places.shape[:3]
  corners, others = [[hulls.convex_hull_augment(x) for x in y] for y in places]
  drawn = [rng.permutation(size)[: len(x)] for x in corners]
  fill = lambda rows: np.stack([np.resize(x, size) for x in rows])
  plain, hull = np.zeros((num, size), int), fill(corners)
  arms = [
      (plain, plain), (fill(drawn), plain), (hull, plain), (hull, fill(others))
  ]
  return np.array(arms), np.array([len(x) for x in corners])


def rows_of(requests, words, chosen):
  """A row for every pair and place, `chosen` being one of the arms."""
  variants = jnp.take_along_axis(words, chosen[..., None], axis=2)
  flat = variants.reshape(2, -1, words.shape[-1])
  texts = [tokens.Texts(x, jnp.ones(x.shape, bool)) for x in flat]
  repeat = lambda x: jnp.repeat(x, chosen.shape[-1], axis=0)
  return {
      "asked": jax.tree.map(repeat, requests),
      "chosen": texts[0],
      "rejected": texts[1],
  }


def _loss(towers, batch, key):
  del key
  asked = batch["asked"]
  diff = towers(asked, batch["chosen"]) - towers(asked, batch["rejected"])
  return Mean.of(pairwise_logistic(diff))


def measures(key, towers, *, num_test, changed, world):
  """Accuracy on other pairs, and consistency on requests that are alike."""
  keys = split_named(key, "pairs", "requests", "alike", "answers")
  requests, better, worse = draw_pairs(keys["pairs"], num_test, **world)
  right = comparisons.pairwise_accuracy(
      towers(requests, better), towers(requests, worse), ties="half"
  )
  worth = synonyms.gold(requests, better) > synonyms.gold(requests, worse)
  first = synonyms.draw_requests(
      keys["requests"], num_test, length=world["asked"]
  )
  second = synonyms.alike(keys["alike"], first, num_changed=changed)
  both = jax.tree.map(lambda *x: jnp.stack(x, axis=1), first, second)
  own = synonyms.draw_answers(
      keys["answers"], both, length=world["length"], skill=world["skills"][0],
      num_forms=world["num_forms"], usual=world["usual"],
  )
  rewards = jnp.einsum("nid,njd->nij", towers.asked(both), towers.said(own))
  said = tokens.counts(synonyms.meanings(own))
  true = jnp.einsum("nid,njd->nij", tokens.counts(both), said)
  fits = lambda a, b: (true[:, 0, 0] > a) & (true[:, 1, 1] > b)
  return {
      "accuracy": masking.masked_mean(right, worth),
      "C_res": instructions.response_consistency(
          rewards, fits(true[:, 0, 1], true[:, 1, 0])
      ).value,
      "C_ins": instructions.instruction_consistency(
          rewards, fits(true[:, 1, 0], true[:, 0, 1])
      ).value,
  }


def rm_consistency_convex(
    *, seed, num_seeds, num_test, width, changed, harm, data, world,
    learning_rate, **training,
) -> Study:
  """Consistency with chosen answers as they are, and in other words.

  `changed` is in how many places two alike requests differ, `harm` what plain
  accuracy may lose.
  """
  keys = seed_keys(seed, num_seeds)
  drawn = jax.jit(jax.vmap(lambda key: _data(key, world=world, **data)))(keys)
  *texts, places = drawn
  chosen = [
      choose_variants(x, np.random.default_rng([seed, i]))
      for i, x in enumerate(np.asarray(places))
  ]
  # Words as in training, and all of a meaning alike.
  usual = jnp.array([world["usual"], 1 / world["num_forms"]])

  def run(key, texts, chosen):
    key = jax.random.fold_in(key, 1)
    keys = split_named(key, "meaning", "word", "fit", "test")
    normal = lambda name, rows: 0.5 * jax.random.normal(
        keys[name], (rows, width)
    )
    size = tokens.VOCAB_SIZE
    start = Towers(
        normal("meaning", size), normal("word", size * world["num_forms"])
    )

    def one(places):
      towers = fitting.fit(
          keys["fit"], start, _loss, rows_of(*texts, places),
          optimizer=optax.adam(learning_rate), **training,
      ).params
      read = lambda usual: measures(
          keys["test"], towers, num_test=num_test, changed=changed,
          world={**world, "usual": usual},
      )
      return jax.vmap(read)(usual)

    return jax.vmap(one)(chosen)

  found = jax.device_get(
      jax.jit(jax.vmap(run))(keys, texts, np.stack([x[0] for x in chosen]))
  )
  share = np.array([np.mean(x[1]) for x in chosen]) / places.shape[3]
  return _report(found, share, harm)


def _report(found, share, harm) -> Study:
  """Of measures `[runs, arms, 2]`, words as in training and then even."""
  plain, drawn, hull, both = range(4)
  usual = {name: x[..., 0] for name, x in found.items()}
  even = {f"{name}, words even": x[..., 1] for name, x in found.items()}
  measured = {**usual, **even}
  rows = [
      mean_row(arm, name, x[:, i])
      for i, arm in enumerate(ARMS)
      for name, x in measured.items()
  ]
  rows += [
      mean_row(f"{ARMS[i]} less {ARMS[j]}", name, x[:, i] - x[:, j])
      for i, j in ((hull, plain), (hull, drawn), (both, plain))
      for name, x in measured.items()
  ]
  rows.append(mean_row("hull variants", "share of variants kept", share))
  more = lambda name, arm: usual[name][:, hull] - usual[name][:, arm]
  passed = all(
      intervals.mean_interval(more(name, plain)).low > 0
      and np.mean(more(name, drawn)) >= 0
      for name in ("C_res", "C_ins")
  ) and np.mean(more("accuracy", plain)) >= -harm
  return Study(
      "ConvexDA: chosen answers in the words that stand out",
      "With the corners of the hull C_res and C_ins are above those of plain "
      "pairs, both paired intervals above 0, and on average not below those "
      f"of random variants; accuracy loses at most {harm:g} to plain pairs",
      bool(passed),
      rows,
      {},
      f"{NOTE} Every arm has the same pairs, as many rows and as many steps. "
      "Words even: every word of a meaning is as frequent as the others, "
      "where in training the first one is the usual one.",
  )
