"""Nine grades from 800 pairs, a fifth of them with the levels of both items.

Run: python -m experiments.reward_study --config=configs/reward_study/oprm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "oprm"
  config.slug = "oprm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=10,
      num_pairs=800,
      num_test=2000,
      width=64,
      labelled=0.2,
      gain=0.05,
      slack=0.005,
      num_steps=800,
      batch_size=80,
      learning_rate=0.003,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=16, num_test=16, width=8, num_steps=2,
             batch_size=8)
    )
  return config
