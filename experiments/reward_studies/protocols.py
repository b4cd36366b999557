"""Benchmarks of reward models, run on simulated models of known quality."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core import statistics
from rewardjax.core.random import split_named
from rewardjax.data.benchmarks import lists as readers
from rewardjax.data.benchmarks import reading
from rewardjax.diagnostics import comparisons, scoring
from rewardjax.diagnostics.benchmarks import lists, pairs
from rewardjax.search import selection
from rewardjax.types import ScoredRow


def _scores(key, skill, taste, right, style):
  """skill right + taste style + noise, for M models and solutions `[R, K]`."""
  noise = jax.random.normal(key, (skill.shape[0], *right.shape))
  wide = lambda x: x[:, None, None]
  return wide(skill) * right[None] + wide(taste) * style[None] + noise


def _best_of(key, skill, taste, *, num_prompts, num_samples, rate):
  """How often the favourite of each model among its samples is right.

  The samples of one policy share one style.
  """
  keys = split_named(key, "right", "noise")
  shape = (num_prompts, num_samples)
  right = jax.random.bernoulli(keys["right"], rate, shape).astype(float)
  scores = _scores(keys["noise"], skill, taste, right, jnp.zeros(shape))
  chosen = selection.best_of_n(scores)[..., None]
  wide = jnp.broadcast_to(right[None], scores.shape)
  return jnp.mean(jnp.take_along_axis(wide, chosen, axis=-1), axis=(1, 2))


def _models(key, num_models, skill, taste):
  """Skills between two numbers, and how much each model likes a style."""
  keys = split_named(key, "skill", "taste")
  low, high = skill
  skills = jax.random.uniform(
      keys["skill"], (num_models,), minval=low, maxval=high
  )
  return skills, taste * jax.random.normal(keys["taste"], (num_models,))


def rewardmath(
    *, seed, num_seeds, num_models, num_problems, num_rejected, skill, taste,
    policy, low, high,
) -> Study:
  """Which numbers of a benchmark foretell what best-of-n gains."""

  def run(key):
    keys = split_named(key, "models", "pairs", "lists", "best")
    models = _models(keys["models"], num_models, skill, taste)
    one = jnp.ones(num_problems, jnp.int32)
    right = jnp.zeros((num_problems, num_rejected + 1)).at[:, 0].set(1.0)
    plain = jnp.zeros_like(right)
    accuracy = lambda s: jnp.mean(
        comparisons.pairwise_accuracy(s[..., 0], s[..., 1]), axis=-1
    )
    # The chosen solution by a person, the rejected one by a model.
    mixed = _scores(keys["pairs"], *models, right[:, :2], right[:, :2])
    scores = _scores(keys["lists"], *models, right, plain)
    mean = lambda f: jnp.mean(jax.vmap(lambda s: f(s, one))(scores), axis=-1)
    gained = _best_of(keys["best"], *models, **policy)
    found = {
        "pairs of two styles": accuracy(mixed),
        "pairs of one style": accuracy(scores[..., :2]),
        "one against all": mean(scoring.separated),
        "MRR": mean(scoring.reciprocal_rank),
    }
    return {k: statistics.spearman(x, gained) for k, x in found.items()}

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  mean = {name: np.mean(x) for name, x in found.items()}
  passed = (
      mean["pairs of two styles"] < low and mean["one against all"] > high
  )
  return Study(
      "RewardMATH: which accuracy foretells best-of-n",
      f"Rank correlation with best-of-n over models below {low:g} for pairs of "
      f"two styles, above {high:g} for one against {num_rejected}",
      bool(passed),
      [mean_row(name, "rank correlation", x) for name, x in found.items()],
      {},
  )


def _scored(row, skill, draw) -> ScoredRow:
  """A row as a model of that skill scores it."""
  right = np.arange(len(row.texts)) < row.num_correct
  scores = skill * right + draw.normal(size=right.size)
  return ScoredRow(
      row.id, row.group, row.subset, row.num_correct, tuple(map(float, scores))
  )


def _copies(rows, num_copies):
  """The same rows as if of other prompts."""
  for i in range(num_copies):
    for row in rows:
      kind, _, prompt = row.group.partition(":")
      group = f"{kind}:{i}-{prompt}" if prompt else row.group
      yield row._replace(id=f"{row.id}/{i}", group=group)


def rewardbench2(
    *, seed, num_seeds, num_models, num_copies, skill, policy, high
) -> Study:
  """The report on the sample of rows against what best-of-n gains."""
  sample = list(readers.rewardbench2(reading.sample("rewardbench2")))
  rows = list(_copies(sample, num_copies))
  skills = np.linspace(*skill, num_models)
  found = {}
  for run, key in enumerate(seed_keys(seed, num_seeds)):
    gained = _best_of(
        key, jnp.asarray(skills, jnp.float32), jnp.zeros(num_models), **policy
    )
    draw = np.random.default_rng([seed, run])
    parts = []
    for value in skills:
      tables = lists.rewardbench2([_scored(x, value, draw) for x in rows])
      part = {k: x["score"] for k, x in tables["subsets"].items()}
      parts.append({**part, **{
          "overall": tables["overall"]["RewardBench 2"]["score"]
      }})
    for name in parts[0]:
      scores = jnp.array([part[name] for part in parts], jnp.float32)
      rho = float(statistics.spearman(scores, gained))
      found.setdefault(name, []).append(rho)
  passed = np.mean(found["overall"]) > high
  return Study(
      "RewardBench 2: the report against best-of-n",
      f"Rank correlation of the score and best-of-n over {num_models} models "
      f"above {high:g}",
      bool(passed),
      [
          mean_row(name, "rank correlation", np.array(x))
          for name, x in found.items()
      ],
      {},
  )


def m_rewardbench(
    *, seed, num_seeds, num_languages, rows_per_subset, skill, most_noise,
    least,
) -> Study:
  """Noise that grows from language to language, and what the report says."""
  noise = np.linspace(0.0, most_noise, num_languages)
  names = ["eng_Latn", *(f"language {i}" for i in range(1, num_languages))]
  gaps, kappas, spreads = [], [], []
  for run in range(num_seeds):
    draw = np.random.default_rng([seed, run])
    rows = []
    for subset in pairs.COUNTS:
      for number in range(rows_per_subset):
        # What the model makes of a row in any language.
        known = skill + draw.normal()
        for name, level in zip(names, noise):
          margin = float(known + level * draw.normal())
          key = f"{name}/{subset}/{number}"
          rows.append(ScoredRow(key, name, subset, 1, (margin, 0.0)))
    tables = pairs.m_rewardbench(rows)
    found = [tables["languages"][name] for name in names]
    gaps.append([x["gap"] for x in found])
    kappas.append([x["kappa"] for x in found])
    spreads.append(tables["overall"]["M-RewardBench"]["inconsistency"])
  gaps, kappas = np.array(gaps), np.array(kappas)
  rank = lambda x: np.array([
      statistics.spearman(
          jnp.asarray(noise, jnp.float32), jnp.asarray(row, jnp.float32)
      )
      for row in x
  ])
  of_gap, of_kappa = rank(gaps), rank(kappas)
  return Study(
      "M-RewardBench: languages that a model reads less well",
      f"Rank correlation of noise and gap over {num_languages} languages at "
      f"least {least:g}",
      bool(np.mean(of_gap) >= least),
      [
          mean_row("gap", "rank correlation with noise", of_gap),
          mean_row("kappa", "rank correlation with noise", of_kappa),
          mean_row("all languages", "inconsistency", np.array(spreads)),
      ],
      {
          "gap": Curves(
              np.arange(num_languages), {"gap": gaps, "kappa": kappas},
              "language", "gap and kappa",
          )
      },
  )
