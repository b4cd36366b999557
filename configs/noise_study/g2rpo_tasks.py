"""Advantages of binary, bounded and heavy-tailed rewards, 16 a group.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/g2rpo_tasks.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "g2rpo_tasks"
  config.slug = "g2rpo_tasks"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_groups=2000,
      group_size=16,
      success_rate=0.3,
      equal=0.99,
      unequal=0.8,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_groups=20))
  return config
