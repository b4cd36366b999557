r"""Pairs by annotators whose error rates nobody has told us.

Run:
  python -m experiments.reward_model \
      --config=configs/reward_model/estimated_rates.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from annotators who err, nobody knows how much"
  config.slug = "reward_model_estimated_rates"
  config.noise.name, config.noise.by = "forward", "annotator"
  config.noise.estimate = "annotators"
  config.sample.labels = 3
  config.sample.annotators = dict(ada=0.05, bob=0.35, cleo=0.2)
  return config
