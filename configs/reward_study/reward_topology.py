"""Pairs of the leaves of a tree of depth five, or of any answers.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/reward_topology.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "reward_topology"
  config.slug = "reward_topology"
  config.options = dict(
      seed=0,
      num_seeds=8,
      depth=5,
      num_symbols=4,
      branch=2,
      counts=(16, 48, 96),
      weights=(1.0, 1.0, 1.0, 1.0, 1.0),
      noise=3.289868,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, depth=3, num_symbols=2, counts=(4,), weights=(1.0,
             1.0, 1.0))
    )
  return config
