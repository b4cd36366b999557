"""Labels mended by an ensemble that was trained on them briefly.

Members trained to the end agree with wrong labels as well. Axes: N pairs, M
members.
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np

from experiments import reward_model_measures
from experiments.reward_model_data import Data
from experiments.reward_model_noise import Notes
from rewardjax.noise import selection
from rewardjax.reward_models import ensembles
from rewardjax.training.logging import write_atomically


def judges(config) -> mlc.ConfigDict:
  """The config of the ensemble; no member of it is a member of the run."""
  found = mlc.ConfigDict(config.to_dict())
  found.noise.name, found.patience = "none", 0
  found.num_steps, found.members = config.relabel.num_steps, (
      config.relabel.members
  )
  found.first_member = config.first_member + config.members
  return found


def margins(model, data: Data) -> np.ndarray:
  """How much better [N, M] members find what the label prefers."""
  prompts = [row.prompt for row in data.rows]
  users = [row.names.get("user") for row in data.rows]
  first, second = (
      model.members(prompts, [row.items[i] for row in data.rows], users=users)
      for i in range(2)
  )
  outcomes = np.array([row.values["outcome"] for row in data.rows])
  return (first - second) * np.where(outcomes < 0, -1, 1)[:, None].astype(
      np.float32
  )


def write(path: pathlib.Path, data: Data, found: np.ndarray) -> None:
  """A line for each pair; whole or not at all."""
  lines = (
      json.dumps({"place": row.place, "margins": x.tolist()}) + "\n"
      for row, x in zip(data.rows, found)
  )
  write_atomically(path, "".join(lines))


def read(path: pathlib.Path) -> np.ndarray:
  """What `write` was given, to the bit."""
  with open(path) as file:
    return np.array([json.loads(x)["margins"] for x in file], np.float32)


def mend(config, found: np.ndarray) -> list[dict[str, Any]]:
  """What the loss is told of each pair: target, margin, factor of the weight.

  By "quantiles" of mean + std_weight * std over members: pairs on which they
  differ are turned round later. By "agreement" the target is the mean
  probability of the members, who pull it to 1/2 where they differ.

  Args:
    config: of the run.
    found: margins [N, M].
  """
  o = config.relabel
  treat = _quantiles if o.labels == "quantiles" else _agreement
  values = jax.device_get(jax.jit(lambda x: treat(config, x))(found))
  keys = ("target", "margin", "weight")
  return [
      dict(zip(keys, map(float, row)))
      for row in zip(*(values[key] for key in keys))
  ]


def _quantiles(config, found):
  o = config.relabel
  strength = ensembles.preference_strength(found)
  return selection.quantile_relabel(
      strength.mean + o.std_weight * strength.std,
      flip=o.flip,
      drop=o.drop,
      soften=o.soften,
      smoothing=o.smoothing,
      margin_scale=o.margin_scale,
  )._asdict()


def _agreement(config, found):
  target = ensembles.mean(jax.nn.sigmoid(config.loss.beta * found))
  return dict(
      target=target, margin=jnp.zeros_like(target), weight=target * 0 + 1
  )


def notes(data: Data, mended: list[dict[str, Any]]) -> Notes:
  """Shares so treated, and how right that was where labels were checked."""
  target, weight = (
      np.array([x[name] for x in mended]) for name in ("target", "weight")
  )
  flipped = target < 0.5
  found = {
      "turned round": flipped,
      "left out": weight == 0,
      "softened": (target > 0) & (target < 1),
  }
  wrong = np.array([
      row.values.get("gold", 0) * row.values["outcome"] for row in data.rows
  ])
  if (wrong < 0).any():
    found["wrong by gold, of those turned round"] = wrong[flipped] < 0
    found["turned round, of those wrong by gold"] = flipped[wrong < 0]
  summary = lambda x: tuple(reward_model_measures.share(x))
  return {"Relabelled pairs": {k: summary(x) for k, x in found.items()}}
