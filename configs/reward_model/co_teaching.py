r"""Two members that choose for each other what to learn from (co-teaching).

Run:
  python -m experiments.reward_model \
      --config=configs/reward_model/co_teaching.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Two reward models that choose each other's pairs"
  config.slug = "reward_model_co_teaching"
  config.members = 2
  config.noise.name, config.noise.false_positive = "co_teaching", 0.3
  config.sample.annotators = dict(ada=0.3)
  return config
