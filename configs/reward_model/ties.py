"""Pairs of which some are ties (Rao and Kupper).

Run: python -m experiments.reward_model --config=configs/reward_model/ties.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from comparisons with ties"
  config.slug, config.kind = "reward_model_ties", "ties"
  config.loss.name = "rao_kupper"
  return config
