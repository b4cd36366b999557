"""Pairs by users who want opposite things.

Run: python -m experiments.reward_model --config=configs/reward_model/users.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Rewards of two kinds of users"
  config.slug = "reward_model_users"
  config.prototypes = 2
  config.sample.users = ("ann", "ben", "cleo", "dan")
  return config
