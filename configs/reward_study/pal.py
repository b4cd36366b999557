"""Forty users of two opposite kinds, thirty comparisons each.

Run: python -m experiments.reward_study --config=configs/reward_study/pal.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "pal"
  config.slug = "pal"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=6,
      num_users=40,
      num_pairs=30,
      num_new=20,
      new_pairs=5,
      num_test=50,
      flip_rate=0.05,
      prototypes=(1, 2, 4),
      width=32,
      space=4,
      map_rate=0.003,
      user_rate=0.05,
      new_steps=100,
      new_rate=0.5,
      gain=0.1,
      recovered=0.95,
      reach=0.75,
      num_steps=1000,
      batch_size=64,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_users=4, num_pairs=4, num_new=2, num_test=4,
             width=8, new_steps=2, num_steps=2, batch_size=8)
    )
  return config
