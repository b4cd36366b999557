"""Ranked lists of completions.

Run:
  python -m experiments.reward_model --config=configs/reward_model/rankings.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from rankings"
  config.slug, config.kind = "reward_model_rankings", "rankings"
  config.loss.name = "listwise"
  return config
