"""Grades from pairs, a fifth of them with ratings of both (OPRM).

Run: python -m experiments.reward_model --config=configs/reward_model/levels.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model of nine grades in three levels"
  config.slug = "reward_model_levels"
  config.loss.name, config.loss.centre = "ordinal", 0.0
  config.loss.grades, config.loss.levels = 9, 3
  config.sample.rated = 0.2
  return config
