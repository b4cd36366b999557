"""Checks of a config of `experiments.reward_model`."""

import ml_collections as mlc

from experiments import (
    reward_model_losses,
    reward_model_rows,
    reward_model_scoring,
)
from rewardjax.core import checks


def check(config: mlc.ConfigDict, kind: str) -> None:
  """Raises ValueError, naming the field, unless the config makes sense."""
  where = "config"
  checks.one_of(where, reward_model_rows.KINDS, kind=kind)
  reward_model_losses.check_config(config, kind)
  checks.at_least(
      where,
      1,
      members=config.members,
      num_steps=config.num_steps,
      log_every=config.log_every,
      score_batch=config.score_batch,
      num_microbatches=config.num_microbatches,
  )
  checks.at_least(
      where, 0, patience=config.patience, first_member=config.first_member
  )
  for name, unit in (("num_steps", 1), ("checkpoint_every", 1)):
    if config[name] < unit or config[name] % config.log_every:
      raise ValueError(
          f"config.{name} must be a positive multiple of log_every="
          f"{config.log_every}, got {config[name]}."
      )
  checks.one_of(where, ("none", "encoder"), share=config.share)
  aggregates = reward_model_scoring.AGGREGATES
  checks.one_of("config.aggregate", aggregates, name=config.aggregate.name)
  for name in ("held_out", "test"):
    checks.within(where, 0.0, 1.0, high_open=True, **{name: config[name]})
  if not config.held_out:
    raise ValueError("config.held_out must be above 0: it ends the training.")
