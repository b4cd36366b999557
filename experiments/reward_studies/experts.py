"""One reward model for several tasks, one for each, and experts in each.

The criterion was fixed before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.models import experts, lora
from rewardjax.reward_models import fitting
from rewardjax.reward_models.pairwise import pairwise_logistic


def _states(params, x):
  return jnp.tanh(models.affine(x, params["kernel"], params["bias"]))


def _score(params, x):
  return _states(params, x) @ params["head"]


def _init(key, dim, width):
  keys = split_named(key, "kernel", "head")
  return {
      "kernel": jax.random.normal(keys["kernel"], (dim, width)) * dim**-0.5,
      "bias": jnp.zeros(width),
      "head": 0.01 * jax.random.normal(keys["head"], (width,)),
  }


def _loss(score):
  def loss(params, batch, key):
    del key
    better = batch["label"] > 0.5
    diff = score(params, batch["first"]) - score(params, batch["second"])
    return Mean.of(pairwise_logistic(jnp.where(better, diff, -diff)))

  return loss


def dmoerm(
    *, seed, num_seeds, dim, num_tasks, num_experts, num_pairs, num_test,
    wrong, wrong_parts, width, rank, tag, learning_rate, **training,
) -> Study:
  """Holistic labels often `wrong`, those of capabilities less so.

  Each task's true reward is the sum of its capabilities'. Of a task's pairs
  60 % train the base, all of them the experts, 40 % their fusion.
  """
  fusion = experts.ExpertFusion(width)
  first_part = (num_pairs * 3) // 5

  def fit(key, params, loss, rows):
    """What did best on a fifth of the rows, whose labels lie as well."""
    size = rows["label"].shape[0] // 5
    split_key, key = jax.random.split(key)
    rows, rest = fitting.split_rows(split_key, rows, held_out=max(1, size))
    return fitting.fit(
        key, params, loss, rows, held_out=rest,
        optimizer=optax.adam(learning_rate), **training,
    ).params

  def worlds(key):
    keys = jax.random.split(key, (num_tasks, num_experts))
    return jax.vmap(jax.vmap(lambda k: gold.gold_model(k, dim=dim)))(keys)

  def parts(world, x):
    """True rewards by every capability of a task, `[C, *batch]`."""
    return jax.vmap(gold.value, (0, None))(world, x)

  def compare(key, world, count):
    keys = split_named(key, "items", "whole", "parts")
    x = jax.random.normal(keys["items"], (2, count, dim))
    gaps = parts(world, x[0]) - parts(world, x[1])
    flip = lambda name, gap, rate: (gap > 0) != jax.random.bernoulli(
        keys[name], rate, gap.shape
    )
    return {
        "first": x[0],
        "second": x[1],
        "label": flip("whole", gaps.sum(0), wrong).astype(float),
        "parts": flip("parts", gaps, wrong_parts).astype(float),
        "gap": gaps.sum(0),
    }

  def tagged(x, tags):
    return jnp.concatenate([x, tags], axis=-1)

  def tags_of(key, count):
    """What a prompt tells of its task, `[T, N, T]`."""
    noise = jax.random.normal(key, (num_tasks, count, num_tasks))
    return noise + tag * jnp.eye(num_tasks)[:, None]

  def task_model(key, rows):
    """The base on all rows, and the fused experts on top of another."""
    keys = split_named(
        key, "init", "base", "adapter", "expert", "start", "fusion"
    )
    names = ("first", "second", "label")
    whole = {k: rows[k] for k in names}
    index = jnp.stack([
        jnp.arange(num_pairs), jnp.arange(num_pairs) % first_part
    ])
    start = _init(keys["init"], dim, width)
    bases = jax.vmap(
        lambda at: fit(
            keys["base"], start, _loss(_score), fitting.take(whole, at)
        )
    )(index)
    alone, base = (jax.tree.map(lambda x, i=i: x[i], bases) for i in range(2))
    read = lambda p: lora.merge(base, p["lora"]) | {"head": p["head"]}
    fresh = {
        "lora": lora.init_lora(keys["adapter"], base, rank=rank),
        "head": base["head"],
    }
    adapted = jax.vmap(
        lambda label: fit(
            keys["expert"], fresh, _loss(lambda p, x: _score(read(p), x)),
            whole | {"label": label},
        )
    )(rows["parts"])
    states = lambda x: jnp.moveaxis(
        jax.vmap(lambda p: _states(read(p), x))(adapted), 0, -2
    )
    rest = fitting.take(whole, jnp.arange(first_part, num_pairs))
    rest |= {k: states(rest[k]) for k in ("first", "second")}
    fused = fit(
        keys["fusion"], fusion.init(keys["start"], rest["first"]),
        _loss(fusion.apply), rest,
    )
    return (lambda x: _score(alone, x)), (
        lambda x: fusion.apply(fused, states(x))
    )

  def run(key):
    keys = split_named(
        key, "worlds", "pairs", "tags", "single", "start", "tasks", "test",
        "later",
    )
    world = worlds(keys["worlds"])
    draw = lambda name, count: jax.vmap(
        lambda k, w: compare(k, w, count)
    )(jax.random.split(keys[name], num_tasks), world)
    rows, test = draw("pairs", num_pairs), draw("test", num_test)
    tags = tags_of(keys["tags"], num_pairs)
    later = tags_of(keys["later"], num_test)
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    every = {"label": flat(rows["label"])} | {
        k: flat(tagged(rows[k], tags)) for k in ("first", "second")
    }
    single = fit(
        keys["single"], _init(keys["start"], dim + num_tasks, width),
        _loss(_score), every,
    )
    # A linear router by least squares on the prompts' tasks.
    right = jnp.repeat(jnp.eye(num_tasks), num_pairs, axis=0)
    router = jnp.linalg.lstsq(flat(tags), right)[0]
    logits = later @ router

    def of_task(key, rows):
      alone, fused = task_model(key, rows)
      ask = lambda f: f(test["first"]) - f(test["second"])
      return ask(alone), ask(fused)  # of the items of all tasks

    margins = jax.vmap(of_task)(
        jax.random.split(keys["tasks"], num_tasks), rows
    )
    alone, fused = (
        experts.route(logits, jnp.moveaxis(x, 0, -1))[0] for x in margins
    )
    whole = _score(single, tagged(test["first"], later))
    whole -= _score(single, tagged(test["second"], later))
    own = jnp.arange(num_tasks)[:, None]
    return {
        "single": gold.accuracy(whole, test["gap"]),
        "routing only": gold.accuracy(alone, test["gap"]),
        "DMoERM": gold.accuracy(fused, test["gap"]),
        "the router": jnp.mean(jnp.argmax(logits, axis=-1) == own),
    }

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  mean = {name: np.mean(x) for name, x in found.items()}
  passed = mean["DMoERM"] >= mean["single"] > 0 and (
      mean["DMoERM"] > mean["routing only"]
  )
  return Study(
      "DMoERM: a router, and experts within each task",
      "On average not below a single model, and above routing alone",
      bool(passed),
      [mean_row(name, "accuracy", x) for name, x in found.items()],
      {},
  )
