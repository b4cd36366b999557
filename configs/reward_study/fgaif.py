"""Texts of three segments with three kinds of errors.

Run: python -m experiments.reward_study --config=configs/reward_study/fgaif.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "fgaif"
  config.slug = "fgaif"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_samples=64,
      length=9,
      segment=3,
      sure=5.0,
      num_steps=60,
      learning_rate=0.5,
      ratio=0.7,
      better_seeds=4,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_samples=4, length=4, segment=2, num_steps=2,
    ))
  return config
