"""A Gaussian policy 4 of its own widths away from the target.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/sweet_spot_learning.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "sweet_spot_learning"
  config.slug = "sweet_spot_learning"
  config.options = dict(
      seed=0,
      num_seeds=10,
      distance=4.0,
      width=2.0,  # of the proximity
      inside=0.5,  # what passes
      noise=0.1,  # on the continuous score
      num_tiers=4,
      group_size=16,
      num_steps=200,
      learning_rate=0.1,
      near=0.3,
      far=1.0,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
