"""Chains of 4, 12 and 32 steps, labels of steps flipped or not.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/multi_rm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "multi_rm"
  config.slug = "multi_rm"
  config.options = dict(
      seed=0,
      num_seeds=8,
      lengths=(4, 12, 32),
      flip_rates=(0.0, 0.2),
      num_train=1000,
      num_test=1000,
      num_features=8,
      signal=2.5,
      num_steps=400,
      batch_size=64,
      learning_rate=0.05,
      margin=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, lengths=(2, 3), num_train=16, num_test=32, num_steps=3,
        batch_size=8,
    ))
  return config
