"""Sequences that follow a rule or break it, 400 pairs, 5 seeds.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/goal_conditioned_rm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "goal_conditioned_rm"
  config.slug = "goal_conditioned_rm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      base=5,
      length=12,
      width=32,
      num_pairs=400,
      num_test=400,
      beta=0.5,
      num_positions=8,
      num_steps=400,
      batch_size=50,
      learning_rate=3e-3,
      voters=dict(num_groups=200, group_size=8, right=0.4),
      partial=0.03,
      lowest=0.05,
      removed=0.4,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, length=6, width=4, num_test=20, num_steps=2)
    )
    config.options.voters.num_groups = 5
  return config
