"""Bags of actions: 800 steps of pre-training, 64 or 256 triples; 5 seeds.

Run: python -m experiments.reward_study --config=configs/reward_study/polar.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "polar"
  config.slug = "polar"
  config.options = dict(
      seed=0,
      num_seeds=5,
      bed=dict(dim=6, size=5, judged=3, num_candidates=4),
      num_policies=2000,
      width=64,
      pretrain=dict(num_steps=800, batch_size=128, learning_rate=2e-3),
      finetune=dict(
          num_steps=150, batch_size=64, learning_rate=1e-3, decay=0.1
      ),
      sizes=(64, 256),
      num_test=2000,
      chance=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_policies=10, num_test=20))
    config.options.pretrain.update(dict(num_steps=2, batch_size=8))
    config.options.finetune.num_steps = 2
  return config
