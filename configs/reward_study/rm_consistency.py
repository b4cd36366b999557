"""A bilinear reward, read on instructions that are alike.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rm_consistency.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rm_consistency"
  config.slug = "rm_consistency"
  config.options = dict(
      seed=0,
      num_seeds=6,
      dim=8,
      num_pairs=400,
      num_test=1000,
      flip_rate=0.1,
      blend=0.85,
      blur=1.0,
      bank_size=400,
      neighbours=5,
      threshold=0.3,
      gap=0.1,
      learning_rate=0.01,
      num_steps=500,
      batch_size=50,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=16, num_test=8, bank_size=8,
             num_steps=2, batch_size=8)
    )
  return config
