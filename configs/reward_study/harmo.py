"""Policies over lengths, and over items without a rule; 8 seeds.

Run: python -m experiments.reward_study --config=configs/reward_study/harmo.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "harmo"
  config.slug = "harmo"
  config.options = dict(
      seed=0,
      num_seeds=8,
      share=0.8,
      lengths=dict(
          num_prompts=32,
          lengths=(10, 20, 30, 40, 50, 60, 70, 80),
          # Of an answer of each length: to be right, and to keep the form.
          right=(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
          form=(0.98, 0.86, 0.74, 0.62, 0.5, 0.38, 0.26, 0.14),
          form_weight=0.5,
      ),
      open_tasks=dict(
          dim=8,
          num_prompts=32,
          num_arms=16,
          num_pairs=400,
          flips=0.2,
          threshold=1.0,
          fit=dict(
              num_steps=300, batch_size=100, learning_rate=3e-3, decay=0.1
          ),
      ),
      training=dict(group_size=8, num_steps=500, learning_rate=0.3),
  )
  if size == "tiny":  # what the tests run
    config.options.num_seeds = 2
    config.options.training.num_steps = 2
    config.options.open_tasks.fit.num_steps = 2
  return config
