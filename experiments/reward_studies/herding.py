"""Ensembles whose members differ by pretraining, or by the last layer only.

The criterion was fixed before the first run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import agreement, overoptimization
from rewardjax.noise.preferences import symmetric
from rewardjax.reward_models import ensembles, fitting
from rewardjax.reward_models.pairwise import centre_penalty, pairwise_logistic

_SHARED = {
    "pretraining": None,
    "fine-tuning": lambda path: path.startswith("encoder"),
}
_RULES = {
    "mean": ensembles.mean,
    "worst case": ensembles.worst_case,
}


def _init(key, *, dim, num_features):
  """A random encoder, which stands for pretraining, and a small head."""
  keys = split_named(key, "kernel", "bias", "head")
  normal = jax.random.normal
  return {
      "encoder": {
          "kernel": normal(keys["kernel"], (dim, num_features)) * dim**-0.5,
          "bias": 0.5 * normal(keys["bias"], (num_features,)),
      },
      "head": 0.1 * normal(keys["head"], (num_features,)),
  }


def _apply(params, x):
  encoder = jax.lax.stop_gradient(params["encoder"])  # frozen
  return jnp.tanh(models.affine(x, **encoder)) @ params["head"]


def _make_loss(centre):
  def loss(params, batch, key):
    del key
    chosen, rejected = (
        _apply(params, batch[k]) for k in ("chosen", "rejected")
    )
    losses = pairwise_logistic(chosen - rejected)
    return Mean.of(losses + centre * centre_penalty(chosen, rejected))

  return loss


def helping_or_herding(
    *, seed, num_seeds, dim, num_pairs, num_test, flip_rate, spurious,
    num_features, num_members, centre, num_prompts, num_candidates, size,
    learning_rate, top, least, **training,
) -> Study:
  """Five members that differ by their encoders, or by their heads alone.

  `top` is the share of the candidates, those that the mean prefers, on which
  agreement is measured again; `least` is the share of the single model's
  spurious coordinate that ensembles keep.
  """
  init = functools.partial(_init, dim=dim + 1, num_features=num_features)
  size = jnp.asarray(size)

  def train(key):
    keys = split_named(key, "truth", "pairs", "members")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(
        keys["pairs"], truth, num_pairs=num_pairs,
        rates=symmetric(flip_rate), spurious=spurious,
    )
    chosen, rejected = pairs.oriented()
    fit = lambda key, params: fitting.fit(
        key, params, _make_loss(centre),
        {"chosen": chosen, "rejected": rejected},
        optimizer=optax.adam(learning_rate), **training,
    ).params
    init_key, fit_key = jax.random.split(keys["members"])
    starts = [
        ensembles.init_members(
            init_key, init, num_members=num_members, share=share
        )
        for share in _SHARED.values()
    ]
    orders = ensembles.member_keys(fit_key, num_members)
    # Both kinds of ensemble in one loop.
    return truth, jax.vmap(jax.vmap(fit), (None, 0))(
        orders, jax.tree.map(lambda *x: jnp.stack(x), *starts)
    )

  def read(key, learned):
    truth, params = learned
    keys = split_named(key, "test", "candidates")
    test = gold.compare(
        keys["test"], truth, num_pairs=num_test, spurious=0.0
    )
    x = gold.candidates(
        keys["candidates"], (num_prompts, num_candidates), dim=dim + 1
    )
    true = gold.value(truth, x)
    best = lambda proxy, what: jnp.mean(
        overoptimization.best_of_n_curve(proxy, what, size[None])
    )
    both = jax.vmap(
        lambda proxy: jnp.stack([best(proxy, true), best(proxy, x[..., -1])])
    )

    def one(params):
      score = functools.partial(ensembles.predict, _apply, params)
      right = (score(test.first) > score(test.second)) == (
          test.gap > 0
      )[:, None]
      members = score(x)
      cut = jnp.quantile(jnp.mean(members, -1), 1 - top, axis=-1)
      found = jnp.mean(members, -1) >= cut[:, None]
      gains = jnp.mean(overoptimization.transferred_gains(members, size), 0)
      own = jnp.diagonal(gains)
      out = {
          "accuracy of a member": jnp.mean(right),
          "agreement": jnp.mean(agreement.rank_agreement(members)),
          "agreement at the top": jnp.mean(
              agreement.rank_agreement(members, found)
          ),
          "gain seen by others": (jnp.sum(gains) - jnp.sum(own))
          / (num_members - 1) / jnp.sum(own),
      }
      proxies = [members[..., i] for i in range(num_members)]
      proxies += [rule(members) for rule in _RULES.values()]
      gains = both(jnp.stack(proxies))
      single = jnp.mean(gains[:num_members], axis=0)
      for name, pair in zip(("single", *_RULES), [single, *gains[-2:]]):
        out[f"best of n, {name}"], out[f"spurious, {name}"] = pair
      return out

    found = jax.vmap(one)(params)
    return {
        name: jax.tree.map(lambda x, i=i: x[i], found)
        for i, name in enumerate(_SHARED)
    }

  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  return _report(found, least)


def _report(found, least) -> Study:
  mean = {
      name: {k: np.mean(x) for k, x in metrics.items()}
      for name, metrics in found.items()
  }
  wide, narrow = mean["pretraining"], mean["fine-tuning"]
  passed = (
      wide["agreement"] < narrow["agreement"]
      and wide["best of n, mean"] > narrow["best of n, mean"]
      and all(
          x[f"spurious, {rule}"] >= least * x["spurious, single"]
          for x in mean.values()
          for rule in _RULES
      )
  )
  return Study(
      "Helping or herding: what members of an ensemble share",
      "Members that differ by pretraining agree less and their mean's "
      "best-of-n is truly better; no ensemble lowers the spurious coordinate "
      f"of what it selects below {least:g} of the single model's",
      bool(passed),
      [
          mean_row(name, metric, x)
          for name, metrics in found.items()
          for metric, x in metrics.items()
      ],
      {},
  )
