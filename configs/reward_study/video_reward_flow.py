"""A flow to eight modes, aligned in three ways from 1024 pairs, 5 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/video_reward_flow.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "video_reward_flow"
  config.slug = "video_reward_flow"
  config.options = dict(
      seed=0,
      num_seeds=5,
      widths=(64, 64, 64),
      data_size=4096,
      base_steps=1500,
      batch_size=256,
      base_rate=3e-3,
      num_pairs=1024,
      beta=10.0,
      temperature=0.3,
      num_steps=300,
      learning_rate=3e-4,
      sample_steps=20,
      num_samples=1000,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, widths=(8,), base_steps=2, num_steps=2,
             sample_steps=2, num_samples=20)
    )
  return config
