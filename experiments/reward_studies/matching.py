"""How well an answer fits what was asked: instructions, and crowds.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import instructions
from rewardjax.reward_models import contrastive, fitting
from rewardjax.reward_models.pairwise import pairwise_logistic
from rewardjax.shaping import combination


def _bilinear_rewards(matrix, x, y):
  """x . matrix . y of every instruction and answer of a square, `[N, 2, 2]`."""
  return jnp.einsum("nid,de,nje->nij", x, matrix, y)


def rm_consistency(
    *, seed, num_seeds, dim, num_pairs, num_test, flip_rate, blend, blur,
    bank_size, neighbours, threshold, gap, learning_rate, num_steps,
    batch_size,
) -> Study:
  """A bilinear reward on pairs of alike instructions, with and without fusion.

  `blend` is how alike two instructions are, `blur` the noise of their gold
  answers, `gap` what consistency has to lose to plain accuracy.
  """

  def answers(key, truth, x):
    best = x @ truth
    best = best / jnp.linalg.norm(best, axis=-1, keepdims=True)
    return best * dim**0.5 + blur * jax.random.normal(key, x.shape)

  def loss(matrix, batch, key):
    del key
    x, chosen, rejected = batch
    diff = jnp.einsum("nd,de,ne->n", x, matrix, chosen - rejected)
    return Mean.of(pairwise_logistic(diff))

  def fused(matrix, x, y, own, bank):
    """Rewards with those of the nearest pairs of the training set."""
    near = contrastive.cosine(_joined(x, y)[:, None], bank["joined"][None])
    similarity, index = jax.lax.top_k(near, neighbours)
    return combination.reward_fusion(
        own, bank["reward"][index], similarity, threshold=threshold
    )

  def run(key):
    keys = split_named(
        key, "truth", "x", "chosen", "rejected", "flips", "fit", "near", "own",
        "random",
    )
    normal = lambda name, *shape: jax.random.normal(keys[name], (*shape, dim))
    truth = normal("truth", dim)
    x = normal("x", num_pairs)
    items = answers(keys["chosen"], truth, x), normal("rejected", num_pairs)
    flip = jax.random.bernoulli(keys["flips"], flip_rate, (num_pairs, 1))
    rows = (x, jnp.where(flip, items[1], items[0]),
            jnp.where(flip, items[0], items[1]))
    matrix = fitting.fit(
        keys["fit"], jnp.zeros((dim, dim)), loss, rows,
        optimizer=optax.adam(learning_rate), num_steps=num_steps,
        batch_size=batch_size,
    ).params
    asked = normal("near", num_test, 2)
    asked = jnp.stack([
        asked[:, 0], blend * asked[:, 0] + (1 - blend**2) ** 0.5 * asked[:, 1]
    ], axis=1)
    own = answers(keys["own"], truth, asked)
    rewards = _bilinear_rewards(matrix, asked, own)
    bank_x, bank_y = rows[0][:bank_size], rows[1][:bank_size]
    bank = {
        "joined": _joined(bank_x, bank_y),
        "reward": jnp.einsum("nd,de,ne->n", bank_x, matrix, bank_y),
    }
    cells = [(i, j) for i in range(2) for j in range(2)]
    with_bank = jnp.stack([
        fused(matrix, asked[:, i], own[:, j], rewards[:, i, j], bank)
        for i, j in cells
    ], axis=-1).reshape(-1, 2, 2)
    other = jnp.einsum(
        "nd,de,ne->n", asked[:, 0], matrix, normal("random", num_test)
    )
    out = {"plain": {"random answers": jnp.mean(rewards[:, 0, 0] > other)}}
    for name, r in {"plain": rewards, "fusion": with_bank}.items():
      out.setdefault(name, {})
      out[name]["C_res"] = instructions.response_consistency(r).value
      out[name]["C_ins"] = instructions.instruction_consistency(r).value
    return out

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  plain = {k: np.mean(x) for k, x in found["plain"].items()}
  passed = plain["random answers"] - plain["C_res"] >= gap
  return Study(
      "Consistency: alike instructions, different answers",
      f"Accuracy against random answers is at least {gap:g} above C_res",
      bool(passed),
      [
          mean_row(name, metric, x)
          for name, metrics in found.items()
          for metric, x in metrics.items()
      ],
      {},
      f"{NOTE} C_res: an instruction's own answer beats its neighbour's; "
      "C_ins: an answer scores higher under its own instruction.",
  )


def _joined(x, y):
  return jnp.concatenate([x, y], axis=-1)


def social_reward(
    *, seed, num_seeds, dim, embed, num_prompts, surplus, num_test, noise,
    temperature, gaps, gain, near, learning_rate, num_steps, batch_size,
) -> Study:
  """Two towers that learn from how popular images of one prompt are.

  `gaps` are the least differences of popularity of a pair; all thresholds
  have the same number of pairs.
  """
  names = ("triplet", "logistic")
  threshold = jnp.asarray(gaps)

  def towers(params, text, image):
    return text @ params["text"], image @ params["image"]

  def loss(params, batch, key):
    del key
    anchor, chosen = towers(params, batch["text"], batch["chosen"])
    rejected = batch["rejected"] @ params["image"]
    cosine = contrastive.cosine
    losses = jax.lax.switch(
        batch["arm"][0],
        [
            lambda: contrastive.triplet(anchor, chosen, rejected),
            lambda: pairwise_logistic(
                (cosine(anchor, chosen) - cosine(anchor, rejected))
                / temperature
            ),
        ],
    )
    return Mean.of(losses)

  def true(world, text, image):
    return contrastive.cosine(*towers(world, text, image))

  def shown(key, world, count):
    """Prompts, two images each, and how popular these became."""
    keys = split_named(key, "text", "image", "noise")
    text = jax.random.normal(keys["text"], (count, dim))
    image = jax.random.normal(keys["image"], (2, count, dim))
    worth = true(world, text[None], image)
    counts = worth / 0.35 + noise * jax.random.normal(
        keys["noise"], worth.shape
    )
    return text, image, worth, counts

  def pairs_of(key, world, least):
    """The first pairs whose popularity differs by at least `least`."""
    text, image, _, counts = shown(key, world, num_prompts * surplus)
    far = jnp.abs(counts[0] - counts[1]) >= least
    first = jnp.argsort(~far, stable=True)[:num_prompts]
    text, image = text[first], image[:, first]
    won = (counts[0] > counts[1])[first][:, None]
    return {
        "text": text,
        "chosen": jnp.where(won, image[0], image[1]),
        "rejected": jnp.where(won, image[1], image[0]),
    }

  def matrices(key):
    keys = split_named(key, "text", "image")
    draw = lambda name: jax.random.normal(keys[name], (dim, embed))
    return {"text": draw("text"), "image": draw("image")}

  def run(key):
    keys = split_named(key, "world", "pairs", "start", "fit", "test")
    world, start = matrices(keys["world"]), matrices(keys["start"])

    def fit(arm, least):
      rows = pairs_of(keys["pairs"], world, least)
      rows["arm"] = jnp.full(num_prompts, arm)
      return fitting.fit(
          keys["fit"], start, loss, rows, optimizer=optax.adam(learning_rate),
          num_steps=num_steps, batch_size=batch_size,
      ).params

    over_gaps = jax.vmap(fit, (None, 0))
    params = jax.vmap(over_gaps, (0, None))(jnp.arange(2), threshold)
    text, image, worth, _ = shown(keys["test"], world, num_test)

    def accuracy(params):
      scores = true(params, text[None], image)
      return jnp.mean((scores[0] > scores[1]) == (worth[0] > worth[1]))

    return accuracy(start), jax.vmap(jax.vmap(accuracy))(params)

  frozen, found = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  mean = np.mean(found, axis=0)
  passed = (
      np.all(mean[:, 0] >= np.mean(frozen) + gain)
      and mean[0, 0] >= mean[1, 0] - near
      and np.all(np.diff(mean, axis=1) >= 0)
  )
  rows = [mean_row("frozen", "accuracy", frozen)]
  rows += [
      mean_row(name, f"popularity gap >= {least:g}", found[:, i, j])
      for i, name in enumerate(names)
      for j, least in enumerate(gaps)
  ]
  return Study(
      "Social Reward: what becomes popular, by two towers",
      f"Training adds at least {gain:g} to frozen towers, triplets come "
      f"within {near:g} of logistic, and a larger gap of popularity never "
      "lowers accuracy",
      bool(passed),
      rows,
      {},
      f"{NOTE} Accuracy on the true order; every gap has as many pairs.",
  )
