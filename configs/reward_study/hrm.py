"""Greedy search over six steps with 2 to 24 candidates for each.

Run: python -m experiments.reward_study --config=configs/reward_study/hrm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "hrm"
  config.slug = "hrm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      sizes=(2, 4, 8, 16, 24),
      num_chains=200,
      num_trees=50,
      tree=dict(branching=4, depth=3),
      num_problems=500,
      num_chain_steps=6,
      world=dict(
          num_features=4, signal=1.5, leap_noise=0.3, success=0.7,
          repair=0.3, bluff=0.05,
      ),
      num_steps=400,
      batch_size=16,
      learning_rate=0.05,
      margin=0.03,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, sizes=(1, 2), num_chains=4, num_trees=4,
        tree=dict(depth=2), num_problems=8, num_chain_steps=2, num_steps=2,
        batch_size=4,
    ))
  return config
