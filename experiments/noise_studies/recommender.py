"""A recommender that spells items: imitation, sampling and ranked beams."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import on_policy
from experiments.noise_studies import models, speller
from experiments.noise_studies.tables import curves
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.diagnostics import ranking
from rewardjax.environments import items
from rewardjax.policies import decoding
from rewardjax.policies.constraints import TokenConstraint
from rewardjax.recipes import policy_gradient, recommendation
from rewardjax.search import beam, tries
from rewardjax.types import Reward, Rollouts

TOP = 10  # items of a list that is measured


class Task(NamedTuple):
  """What can be said, and after how many items it is asked for."""

  trie: tries.Trie
  length: int
  history: int

  @property
  def constraint(self) -> TokenConstraint:
    """Only items of the catalogue."""
    return models.inside(self.trie)

  def draw(self, key, shop, num):
    """Prompts, the items before the targets, and the targets."""
    bought = items.draw_histories(key, shop, num=num, length=self.history + 1)
    spelt = items.spell(shop, bought[:, :-1])
    prompts = models.Text(spelt, jnp.ones(spelt.shape, bool))
    return prompts, bought[:, -2], bought[:, -1]

  def search(self, params, prompts, num_beams):
    """The likeliest items."""
    return beam.constrained_beam_search(
        speller.decoder(), params, *prompts, self.trie, num_beams=num_beams,
        max_new_tokens=self.length, renormalize=True,
    )

  def score(self, params, rollouts):
    """Log-probs among what may be said."""
    return models.score(speller.logits, params, rollouts, self.constraint)


def _beams(task, key, params, prompts, size):
  del key
  found = task.search(params, prompts, size)
  truncated = jnp.zeros(found.items.shape, bool)
  rollouts = Rollouts(
      *prompts, found.tokens, found.mask, found.log_probs, truncated
  )
  return rollouts, found.items, found.valid


def _samples(task, key, params, prompts, size):
  rollouts = decoding.sample(
      key, speller.decoder(), params, *prompts, num_samples=size,
      max_new_tokens=task.length, stop_tokens=(), constraint=task.constraint,
  )
  found = tries.items_of(task.trie, rollouts.tokens, rollouts.mask)
  return rollouts, found, found >= 0


def _grpo(log_probs, rollouts, hits, valid, **anchor):
  reward = Reward(hits.astype(float), valid)
  return policy_gradient.grpo(log_probs, rollouts, reward, **anchor)


METHODS = {
    "sampling": (_samples, _grpo),
    "ReRe": (_beams, recommendation.rere),
}


def _quality(task, params, shop, test):
  """Exact NDCG@10 and HR@10 of the lists after the test histories."""
  prompts, before, _ = test
  listed = task.search(params, prompts, TOP).items

  def expected(metric):
    full = lambda item: jnp.full(before.shape, item)
    each = jax.vmap(lambda item: metric(listed, full(item), k=TOP))
    gains = each(jnp.arange(shop.transition.shape[0]))
    return jnp.mean(jnp.sum(gains.T * shop.transition[before], axis=-1))

  return expected(ranking.ndcg), expected(ranking.hit_rate)


def _imitate(task, key, params, shop, measure, *, batch_size, **steps):
  def draw(key):
    prompts, _, target = task.draw(key, shop, batch_size)
    answers = items.spell(shop, target[:, None])
    return prompts, models.Text(answers, jnp.ones(answers.shape, bool))

  return models.imitate(key, speller.logits, params, draw, measure, **steps)


def _reinforce(
    task, key, start, shop, measure, name, *, batch_size, group_size, kl,
    **steps,
):
  propose, recipe = METHODS[name]

  def collect(key, params, step):
    draw_key, key = jax.random.split(key)
    prompts, _, target = task.draw(draw_key, shop, batch_size)
    rollouts, found, valid = propose(task, key, params, prompts, group_size)
    return rollouts, found == target[:, None], valid, found

  def loss(params, batch):
    reference = task.score(start, batch[0])
    return recipe(
        task.score(params, batch[0]), *batch[:3],
        reference_log_probs=reference, kl_coefficient=kl, kl_estimator="k3",
    )[0]

  def both(params, batch):
    distinct = ranking.distinct(batch[3], batch[2]).astype(float)
    return (*measure(params, batch), jnp.mean(distinct))

  return on_policy.train(key, start, collect, loss, both, **steps)[1]


def rere(
    *, seed, num_seeds, catalogue, history, width, test, imitation, learning,
    margin,
) -> Study:
  """Lists of the ten best after each method."""
  key = jax.random.key(seed)
  codes = items.random_shop(key, **catalogue).codes  # one tree for all seeds
  vocab, length = catalogue["vocab_size"], catalogue["length"]
  trie = tries.prefix_trie(np.asarray(codes).tolist(), vocab_size=vocab)
  task = Task(trie, length, history)
  shape = dict(prompt=history * length, length=length, vocab=vocab, width=width)

  def run(key):
    keys = jax.random.split(key, 5)
    shop = items.random_shop(keys[0], **catalogue)._replace(codes=codes)
    measured = task.draw(keys[1], shop, test)
    quality = lambda params, _: _quality(task, params, shop, measured)
    keep = lambda params, _: params
    fresh = speller.init(keys[2], **shape)
    kept = _imitate(task, keys[3], fresh, shop, keep, **imitation)
    start = jax.tree.map(lambda x: x[-1], kept)
    further = imitation | dict(num_steps=learning["num_steps"])
    first = jax.tree.map(lambda x: x[None], quality(start, None))
    best = items.best_ndcg(shop, k=TOP)[None]
    return {
        "imitation": first,
        "more imitation": _imitate(
            task, keys[4], start, shop, quality, **further
        ),
        **{
            name: _reinforce(
                task, keys[4], start, shop, quality, name, **learning
            )
            for name in METHODS
        },
        "best possible": (best,),
    }

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  last = {name: [x[:, -1] for x in each] for name, each in found.items()}
  rows = [mean_row(name, "NDCG@10", x[0]) for name, x in last.items()]
  rows += [
      mean_row(name, "HR@10", x[1]) for name, x in last.items() if len(x) > 1
  ]
  unique = {name: np.mean(found[name][2], axis=1) for name in METHODS}
  rows += [mean_row(n, "unique items per group", x) for n, x in unique.items()]
  gain = np.mean(last["ReRe"][0]) - np.mean(last["imitation"][0])
  whole = np.all(found["ReRe"][2] == learning["group_size"])
  lines = {n: x[0] for n, x in found.items() if x[0].shape[1] > 1}
  return Study(
      "ReRe: ranked beams for a recommender",
      f"NDCG@10 of ReRe above imitation by {margin:g}, and all items of every "
      "group different",
      bool(gain > margin and whole),
      rows,
      {"ndcg": curves(lines, "NDCG@10")},
      "Lists are the ten likeliest items of the tree; both measures are exact "
      "over what the customer buys next. The other methods start from "
      "imitation, and see as many customers each. Means over seeds with 95 % "
      "Student-t intervals.",
  )
