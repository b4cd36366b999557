"""500 comparisons of which a quarter are ties, 6 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/video_reward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "video_reward"
  config.slug = "video_reward"
  config.options = dict(
      seed=0,
      num_seeds=6,
      dim=8,
      widths=(64,),
      tie_factor=5.0,
      sharpness=3.0,
      num_pairs=500,
      num_test=2000,
      within=0.01,
      num_steps=400,
      batch_size=100,
      learning_rate=3e-3,
      decay=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_test=50, num_steps=2))
  return config
