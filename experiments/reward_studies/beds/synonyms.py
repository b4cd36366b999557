"""Requests, and answers whose every meaning has several words.

Meanings are the tokens of `beds.tokens`; word w means w % 8. An answer is
good where it says what was asked for, in whatever words.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from experiments.reward_studies.beds import tokens
from experiments.reward_studies.beds.tokens import VOCAB_SIZE, Texts
from rewardjax.core.random import split_named


def meanings(answers: Texts) -> Texts:
  """What the words of an answer mean."""
  return answers._replace(tokens=answers.tokens % VOCAB_SIZE)


def gold(requests: Texts, answers: Texts) -> Float[Array, "*batch"]:
  """Over the words of an answer, how often their meaning was asked for."""
  said = tokens.counts(meanings(answers))
  return jnp.sum(tokens.counts(requests) * said, axis=-1)


def draw_requests(
    key: Key[Array, ""], num_requests: int, *, length: int
) -> Texts:
  """Requests of independent meanings, `[N, T]`."""
  law = jnp.full((num_requests, VOCAB_SIZE), 1 / VOCAB_SIZE)
  return tokens.draw_texts(key, law, length=length)


def _some_places(key, texts, count):
  """True at `count` places of each text; all places must be real."""
  order = jax.random.uniform(key, texts.tokens.shape)
  return jnp.argsort(jnp.argsort(order, axis=-1), axis=-1) < count


def alike(key: Key[Array, ""], requests: Texts, *, num_changed: int) -> Texts:
  """Requests that ask for something else in `num_changed` places."""
  keys = split_named(key, "places", "others")
  step = jax.random.randint(
      keys["others"], requests.tokens.shape, 1, VOCAB_SIZE
  )
  here = _some_places(keys["places"], requests, num_changed)
  other = (requests.tokens + step) % VOCAB_SIZE
  return requests._replace(tokens=jnp.where(here, other, requests.tokens))


def draw_answers(
    key: Key[Array, ""],
    requests: Texts,
    *,
    length: int,
    skill: Float[Array, ""] | float,
    num_forms: int,
    usual: float,
) -> Texts:
  """Answers of independent words.

  Args:
    key: consumed.
    requests: what is answered.
    length: T.
    skill: chance that a word is meant for the request; others are random.
    num_forms: F, words of each meaning.
    usual: chance that a meaning has its first word; the others share the
      rest. 1 / F makes all alike.
  """
  keys = split_named(key, "meanings", "forms")
  asked = tokens.counts(requests) / requests.tokens.shape[-1]
  meant = tokens.draw_texts(
      keys["meanings"], skill * asked + (1 - skill) / VOCAB_SIZE,
      length=length,
  )
  rare = (1 - usual) / (num_forms - 1)
  law = jnp.full(num_forms, rare).at[0].set(usual)
  form = jax.random.categorical(
      keys["forms"], jnp.log(law), shape=meant.tokens.shape
  )
  return meant._replace(tokens=meant.tokens + VOCAB_SIZE * form)


def reword(
    key: Key[Array, ""], answers: Texts, *, num_changed: int, num_forms: int
) -> Texts:
  """Answers with another word of the same meaning in `num_changed` places."""
  keys = split_named(key, "places", "forms")
  step = jax.random.randint(
      keys["forms"], answers.tokens.shape, 1, num_forms
  )
  here = _some_places(keys["places"], answers, num_changed)
  other = (answers.tokens + VOCAB_SIZE * step) % (VOCAB_SIZE * num_forms)
  return answers._replace(tokens=jnp.where(here, other, answers.tokens))


def embeddings(
    key: Key[Array, ""], *, num_forms: int, width: int, blur: float
) -> Float[Array, "W H"]:
  """Of all words, as of a model that knows which mean the same.

  Args:
    key: consumed.
    num_forms: F.
    width: H.
    blur: how far the words of a meaning lie around it.
  """
  keys = split_named(key, "meanings", "words")
  centre = jax.random.normal(keys["meanings"], (VOCAB_SIZE, width))
  own = jax.random.normal(keys["words"], (num_forms, VOCAB_SIZE, width))
  return (centre[None] + blur * own).reshape(-1, width)


def embed(
    table: Float[Array, "W H"], words: Int[Array, "*batch T"]
) -> Float[Array, "*batch H"]:
  """The mean embedding of the words of whole texts."""
  return jnp.mean(table[words], axis=-2)
