"""Five reward models at once, read carefully: mean minus std.

Run:
  python -m experiments.reward_model --config=configs/reward_model/ensemble.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Five reward models from comparisons"
  config.slug = "reward_model_ensemble"
  config.members = 5 if size == "small" else 3
  config.aggregate.name = "mean_minus_std"
  return config
