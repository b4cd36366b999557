"""Judged pairs of completions, by one reward model.

Run: python -m experiments.reward_model --config=configs/reward_model/pairs.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.slug = "reward_model_pairs"
  return config
