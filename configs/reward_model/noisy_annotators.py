r"""Pairs by annotators whose error rates are known.

Run:
  python -m experiments.reward_model \
      --config=configs/reward_model/noisy_annotators.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from annotators who err"
  config.slug = "reward_model_noisy_annotators"
  config.noise.name, config.noise.by = "forward", "annotator"
  config.sample.annotators = dict(ada=0.05, bob=0.35)
  config.noise.rates = dict(ada=0.05, bob=0.35)
  return config
