"""400 pairs, in 85 % of which the better text is the longer one.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/ixc_reward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "ixc_reward"
  config.slug = "ixc_reward"
  config.options = dict(
      seed=0,
      num_seeds=8,
      num_pairs=400,
      num_test=1000,
      world=dict(length=12, shortest=4, quality=0.65),
      longer=0.85,
      max_ratio=1.1,
      corrupted=0.1,
      dropped=0.1,
      lift=3.0,
      width=16,
      num_steps=300,
      batch_size=50,
      learning_rate=0.01,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_pairs=10, num_test=16,
        world=dict(length=4, shortest=2), num_steps=2, batch_size=4,
    ))
  return config
