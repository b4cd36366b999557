"""Rewards of more than one number: grades, users, mixtures.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold, users
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.models.heads import VectorHead
from rewardjax.models.set_encoder import Gaussian, SetEncoder
from rewardjax.recipes import latent_rewards
from rewardjax.reward_models import fitting, latent, ordinal

_GRADES, _LEVELS = 9, 3


def oprm(
    *, seed, num_seeds, dim, num_pairs, num_test, width, labelled, gain,
    slack, learning_rate, **training,
) -> Study:
  """Grades learned from pairs, a share `labelled` of them with levels.

  `gain` is what levels must add to level accuracy, `slack` what they may cost
  in accuracy of pairs.
  """
  head = VectorHead(_GRADES, (width,), activation=nn.tanh)
  scalar = models.scorer(dim, (width,))
  modes = ("none", "block", "flood")

  def loss(params, batch, key):
    del key
    chosen, rejected = (
        head.apply(params, batch[k]) for k in ("chosen", "rejected")
    )
    known = lambda mode: latent_rewards.oprm(
        chosen, rejected, batch["levels"], batch["labelled"], mode=mode
    )[0]
    return jax.lax.switch(
        batch["mode"][0],
        [lambda: latent_rewards.oprm(chosen, rejected)[0]]
        + [lambda mode=mode: known(mode) for mode in modes[1:]],
    )

  def train(key):
    keys = split_named(key, "truth", "pairs", "labelled", "init", "fit")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(keys["pairs"], truth, num_pairs=num_pairs)
    chosen, rejected = pairs.oriented()
    level = lambda x: gold.levels(gold.value(truth, x), num_levels=_LEVELS)
    rows = {
        "chosen": chosen,
        "rejected": rejected,
        "levels": (level(chosen), level(rejected)),
        "labelled": jax.random.bernoulli(
            keys["labelled"], labelled, (num_pairs,)
        ),
    }
    start = head.init(keys["init"], chosen)
    fit = lambda mode: fitting.fit(
        keys["fit"], start, loss, rows | {"mode": jnp.full(num_pairs, mode)},
        optimizer=optax.adam(learning_rate), **training,
    ).params
    plain = models.fit_scorer(
        keys["fit"], scalar, models.pair_loss(scalar.apply), rows,
        learning_rate=learning_rate, **training,
    )
    return truth, jax.vmap(fit)(jnp.arange(len(modes))), plain

  def read(key, learned):
    truth, grades, plain = learned
    test = gold.compare(jax.random.fold_in(key, 1), truth, num_pairs=num_test)
    true = gold.levels(gold.value(truth, test.first), num_levels=_LEVELS)

    def one(params):
      logits = [head.apply(params, x) for x in (test.first, test.second)]
      reward = [ordinal.moments(x).mean for x in logits]
      mass = jax.nn.softmax(logits[0]).reshape(num_test, _LEVELS, -1).sum(-1)
      level = jnp.mean(jnp.argmax(mass, axis=-1) == true)
      return gold.accuracy(reward[0] - reward[1], test.gap), level

    diff = scalar.apply(plain, test.first) - scalar.apply(plain, test.second)
    return jax.vmap(one)(grades), gold.accuracy(diff, test.gap)

  (pair, level), plain = models.in_two_stages(
      train, read, seed_keys(seed, num_seeds)
  )
  names = ("no levels", "block", "flood")
  pairs, levels = dict(zip(names, pair.T)), dict(zip(names, level.T))
  passed = all(
      np.mean(levels[k]) >= np.mean(levels["no levels"]) + gain
      and np.mean(pairs[k]) >= np.mean(pairs["no levels"]) - slack
      for k in modes[1:]
  )
  rows = [mean_row(f"grades, {k}", "pairs", x) for k, x in pairs.items()]
  rows += [mean_row(f"grades, {k}", "levels", x) for k, x in levels.items()]
  rows.append(mean_row("Bradley-Terry", "pairs", plain))
  return Study(
      "OPRM: a distribution over grades, learned from pairs",
      f"Levels of {labelled:.0%} of the pairs add at least {gain:g} to level "
      f"accuracy and cost at most {slack:g} of pair accuracy, by block and by "
      "flood",
      bool(passed),
      rows,
      {},
      f"{NOTE} Accuracies on held-out items.",
  )


def _pal_rows(survey, first_user=0):
  """One row per comparison."""
  flat = lambda x: x.reshape(-1, x.shape[-1])
  number = jnp.arange(survey.kinds.shape[0]) + first_user
  return {
      "chosen": flat(survey.chosen),
      "rejected": flat(survey.rejected),
      "user": jnp.repeat(number, survey.chosen.shape[1]),
  }


def pal(
    *, seed, num_seeds, dim, num_users, num_pairs, num_new, new_pairs,
    num_test, flip_rate, prototypes, width, space, map_rate, user_rate,
    new_steps, new_rate, gain, recovered, reach, num_steps, batch_size,
) -> Study:
  """Ideal points of users of two opposite kinds, with 1, 2 and 4 prototypes.

  `gain`, `recovered` and `reach`: what two prototypes must add, the share of
  kinds told apart, and the accuracy for new users with `new_pairs` each.
  """
  net = VectorHead(space, (width,), activation=nn.gelu)
  most = max(prototypes)
  # Prototypes that an arm does not have get no weight.
  absent = jnp.asarray(
      [[0.0] * k + [-1e9] * (most - k) for k in prototypes]
  )

  def loss(params, batch, key):
    del key
    items = [net.apply(params["map"], batch[k]) for k in ("chosen", "rejected")]
    logits = params["users"][batch["user"]] + batch["absent"]
    return latent_rewards.pal(*items, logits, params["prototypes"])[0]

  labels = {"map": "map", "users": "users", "prototypes": "users"}
  optimizer = optax.multi_transform(
      {"map": optax.adam(map_rate), "users": optax.adam(user_rate)}, labels
  )

  def accuracy(params, logits, survey, absent):
    weights = latent.mixture_weights(logits + absent[None])
    ideal = latent.ideal_point(weights, params["prototypes"])[:, None]
    near = lambda x: latent.ideal_point_reward(
        net.apply(params["map"], x),
        jnp.broadcast_to(ideal, (*x.shape[:-1], space)),
    )
    return jnp.mean(near(survey.chosen) > near(survey.rejected))

  def adapt(params, survey, absent):
    """Only the weights of new users, from few pairs each."""
    rows = _pal_rows(survey)
    rows |= {"absent": jnp.broadcast_to(
        absent, (rows["user"].shape[0], most)
    )}
    total = lambda users: loss(params | {"users": users}, rows, None).value
    move = lambda users, _: (
        users - new_rate * num_new * jax.grad(total)(users), None
    )
    return jax.lax.scan(
        move, jnp.zeros((num_new, most)), None, length=new_steps
    )[0]

  def run(key):
    keys = split_named(
        key, "map", "users", "prototypes", "train", "test", "new", "later",
        "fit",
    )
    kinds = users.mixed_kinds(num_users)
    ask = lambda name, kinds, count, rate: users.survey(
        keys[name], kinds, num_pairs=count, dim=dim, flip_rate=rate
    )
    rows = _pal_rows(ask("train", kinds, num_pairs, flip_rate))
    test = ask("test", kinds, num_test, 0.0)
    new_kinds = users.mixed_kinds(num_new)
    new = ask("new", new_kinds, new_pairs, flip_rate)
    later = ask("later", new_kinds, num_test, 0.0)
    start = {
        "map": _spread_map(net, keys["map"], dim),
        "users": 0.01 * jax.random.normal(keys["users"], (num_users, most)),
        "prototypes": jax.random.normal(keys["prototypes"], (most, space)),
    }

    def arm(absent):
      wide = jnp.broadcast_to(absent, (rows["user"].shape[0], most))
      params = fitting.fit(
          keys["fit"], start, loss, rows | {"absent": wide},
          optimizer=optimizer, num_steps=num_steps, batch_size=batch_size,
      ).params
      said = jnp.argmax(params["users"] + absent[None], axis=-1)
      told = jnp.mean((said == said[0]) == (kinds == kinds[0]))
      return {
          "accuracy": accuracy(params, params["users"], test, absent),
          "kinds told apart": told,
          "new users": accuracy(
              params, adapt(params, new, absent), later, absent
          ),
      }

    return jax.vmap(arm)(absent)

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  arm = {k: {m: x[:, i] for m, x in found.items()}
         for i, k in enumerate(prototypes)}
  passed = (
      np.min(arm[2]["accuracy"] - arm[1]["accuracy"]) >= gain
      and np.mean(arm[2]["kinds told apart"]) >= recovered
      and np.mean(arm[2]["new users"]) >= reach
  )
  return Study(
      "PAL: ideal points of users who disagree",
      f"Two prototypes add at least {gain:g} to one in every run, tell at "
      f"least {recovered:.0%} of users apart, and reach {reach:g} for new "
      f"users from {new_pairs} pairs",
      bool(passed),
      [
          mean_row(f"prototypes = {k}", metric, x)
          for k, metrics in arm.items()
          for metric, x in metrics.items()
      ],
      {},
      f"{NOTE} With four prototypes the largest weight need not name a kind.",
  )


def _spread_map(net, key, dim):
  """A map that does not start at 0, where all items are one."""
  init_key, out_key = jax.random.split(key)
  params = net.init(init_key, jnp.zeros((1, dim)))
  last = params["params"]["Dense_1"]
  shape = last["kernel"].shape
  last["kernel"] = jax.random.normal(out_key, shape) * shape[0] ** -0.5
  return params


def vpl(
    *, seed, num_seeds, dim, num_users, num_context, num_asked, num_test,
    hidden, size, coefficients, reach, plain_reach, collapse, learning_rate,
    **training,
) -> Study:
  """A latent per user from eight comparisons; without it; under a heavy price.

  `coefficients` are those of the KL: the one to use, and one that collapses.
  """
  encoder = SetEncoder(hidden, size)
  decoder = VectorHead(1, (hidden,), activation=nn.gelu)
  # A latent that is not read, one that is, and one that costs too much.
  arms = jnp.asarray([(0.0, 0.0)] + [(1.0, c) for c in coefficients])

  def reward(params, items, z):
    wide = jnp.broadcast_to(z[:, None], (*items.shape[:-1], size))
    joined = jnp.concatenate([items, wide], axis=-1)
    return decoder.apply(params["decoder"], joined)[..., 0]

  def margins(params, asked, z):
    return reward(params, asked.chosen, z) - reward(params, asked.rejected, z)

  encode = lambda params, told: encoder.apply(
      params["encoder"], told.chosen, told.rejected
  )

  def loss(params, batch, key):
    use, coefficient = batch["arm"][0]
    posterior = Gaussian(*encode(params, batch["told"]))
    z = use * latent.draw_latent(key, *posterior)
    diff = margins(params, batch["asked"], z)
    return latent_rewards.vpl(diff, posterior, coefficient=coefficient)[0]

  def run(key):
    keys = split_named(
        key, "told", "asked", "encoder", "decoder", "fit", "new", "test"
    )
    ask = lambda name, count, people: users.survey(
        keys[name], users.mixed_kinds(people), num_pairs=count, dim=dim
    )
    rows = {
        "told": ask("told", num_context, num_users),
        "asked": ask("asked", num_asked, num_users),
    }
    told = ask("new", num_context, num_test)
    asked = ask("test", 20, num_test)
    start = {
        "encoder": encoder.init(keys["encoder"], told.chosen, told.rejected),
        "decoder": decoder.init(
            keys["decoder"], jnp.zeros((1, dim + size))
        ),
    }

    def one(arm):
      wide = jnp.broadcast_to(arm, (num_users, 2))
      params = fitting.fit(
          keys["fit"], start, loss, rows | {"arm": wide},
          optimizer=optax.adam(learning_rate), **training,
      ).params
      posterior = encode(params, told)
      z = arm[0] * posterior.mean
      right = jnp.mean(margins(params, asked, z) > 0)
      kl = latent_rewards.vpl(
          jnp.zeros((num_test, 1)), posterior, coefficient=0.0
      )[1]["kl"].value
      return right, kl, _told_apart(posterior.mean, told.kinds)

    return jax.vmap(one)(arms)

  right, kl, told = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  names = ("Bradley-Terry", "VPL", "VPL, price too high")
  passed = (
      np.mean(right[:, 1]) >= reach
      and np.mean(right[:, 0]) <= plain_reach
      and np.max(kl[:, 2]) < collapse
  )
  rows = [mean_row(k, "accuracy", right[:, i]) for i, k in enumerate(names)]
  rows += [
      mean_row(names[i], metric, x[:, i])
      for i in (1, 2)
      for metric, x in (("KL", kl), ("kinds told apart", told))
  ]
  return Study(
      "VPL: a latent for each user, from a few comparisons",
      f"With the latent at least {reach:g}, without at most {plain_reach:g}; "
      f"a KL below {collapse:g} tells of a collapse",
      bool(passed),
      rows,
      {},
      f"{NOTE} New users, {num_context} comparisons each; the latent is the "
      "mean of its posterior.",
  )


def _told_apart(means, kinds):
  """Accuracy of the sign of the first principal component, either way."""
  centred = means - jnp.mean(means, axis=0, keepdims=True)
  _, axes = jnp.linalg.eigh(centred.T @ centred)
  right = jnp.mean((centred @ axes[:, -1] > 0) == (kinds == 0))
  return jnp.maximum(right, 1 - right)
