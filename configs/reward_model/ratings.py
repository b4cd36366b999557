"""Completions with a number each.

Run: python -m experiments.reward_model --config=configs/reward_model/ratings.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from ratings"
  config.slug, config.kind = "reward_model_ratings", "ratings"
  config.loss.name = "regression"
  return config
