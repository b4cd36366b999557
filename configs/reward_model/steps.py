"""Steps that are right or wrong: a process reward model.

Run: python -m experiments.reward_model --config=configs/reward_model/steps.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A process reward model"
  config.slug, config.kind = "reward_model_steps", "steps"
  config.loss.name = "prm"
  return config
