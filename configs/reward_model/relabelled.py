r"""Pairs of which an ensemble turns the least credible fifth round.

Run:
  python -m experiments.reward_model \
      --config=configs/reward_model/relabelled.py
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model from labels that an ensemble mended"
  config.slug = "reward_model_relabelled"
  config.noise.name = "relabel"
  config.sample.annotators = dict(ada=0.25)
  return config
