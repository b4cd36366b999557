"""A shop whose customers choose by a Markov chain; items are token sequences.

The best ranking after each item is known, and so is the best NDCG.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks
from rewardjax.environments.episodes import World
from rewardjax.types import Scalar


class Shop(NamedTuple):
  """I items of L tokens each.

  transition: P(next item | item), by row.
  codes: the tokens of each item, all distinct rows.
  """

  transition: Float[Array, "I I"]
  codes: Int[Array, "I L"]


def random_shop(
    key: Key[Array, ""],
    *,
    num_items: int,
    length: int,
    vocab_size: int,
    sharpness: Scalar = 2.0,
) -> Shop:
  """Rows of the chain are softmax(sharpness * normal); codes are random.

  Args:
    key: consumed.
    num_items: I (static).
    length: L, tokens per item (static).
    vocab_size: tokens 0 .. V-1 (static).
    sharpness: 0 makes every next item equally likely.

  Raises:
    ValueError: if there are fewer codes than items.
  """
  where = "random_shop"
  checks.at_least(
      where, 1, num_items=num_items, length=length, vocab_size=vocab_size
  )
  if vocab_size**length < num_items:
    raise ValueError(
        f"{where}: {num_items} items need more codes than {vocab_size} ** "
        f"{length}."
    )
  chain_key, code_key = jax.random.split(key)
  scores = jax.random.normal(chain_key, (num_items, num_items))
  numbers = jax.random.permutation(code_key, vocab_size**length)[:num_items]
  places = vocab_size ** jnp.arange(length - 1, -1, -1)
  codes = numbers[:, None] // places[None] % vocab_size
  return Shop(jax.nn.softmax(sharpness * scores, axis=-1), codes)


def draw_histories(
    key: Key[Array, ""], shop: Shop, *, num: int, length: int
) -> Int[Array, "B H"]:
  """Items bought in turn, the first one uniformly; `key` is consumed."""
  checks.at_least("draw_histories", 1, num=num, length=length)
  first_key, key = jax.random.split(key)
  first = jax.random.randint(first_key, (num,), 0, shop.transition.shape[0])
  logits = jnp.log(shop.transition)

  def buy(item, key):
    following = jax.random.categorical(key, logits[item])
    return following.astype(item.dtype), item

  last, before = jax.lax.scan(buy, first, jax.random.split(key, length - 1))
  return jnp.concatenate([before, last[None]]).T


def spell(shop: Shop, items: Int[Array, "*batch H"]) -> Int[Array, "*batch N"]:
  """The tokens of the items, one item after another: N = H * L."""
  return shop.codes[items].reshape(*items.shape[:-1], -1)


def best_ndcg(shop: Shop, *, k: int) -> Float[Array, ""]:
  """The highest expected NDCG@k, the item before it being uniform.

  Reached by listing items by their probability, likeliest first.
  """
  checks.at_least("best_ndcg", 1, k=k)
  best, _ = jax.lax.top_k(shop.transition, min(k, shop.transition.shape[0]))
  gains = 1 / jnp.log2(jnp.arange(best.shape[1], dtype=best.dtype) + 2)
  return jnp.mean(jnp.sum(best * gains[None], axis=-1))


class Visit(NamedTuple):
  """A customer in the shop.

  item: bought last.
  pleased: whether it was what the shop had recommended.
  """

  item: Int[Array, ""]
  pleased: Bool[Array, ""]


def world(shop: Shop) -> World:
  """Recommending for `episodes.play`: an action is an item, not its tokens.

  The last item bought is seen. The customer then buys by the chain, whatever
  is recommended; gained is 1 if that was it, and won who pleased the last
  time. A visit has no end of its own.
  """
  num_items = shop.transition.shape[0]
  logits = jnp.log(shop.transition)

  def step(key, visit, action):
    item = jax.random.categorical(key, logits[visit.item])
    item = item.astype(visit.item.dtype)
    pleased = item == action
    return Visit(item, pleased), pleased.astype(jnp.float32)

  return World(
      num_items,
      2 * num_items,
      reset=lambda key: Visit(
          jax.random.randint(key, (), 0, num_items), jnp.zeros((), bool)
      ),
      observe=lambda visit: num_items + visit.item[None],
      step=step,
      is_done=lambda visit: jnp.zeros((), bool),
      is_won=lambda visit: visit.pleased,
  )
