"""Three tasks of three capabilities; 35 % of holistic labels lie.

Run: python -m experiments.reward_study --config=configs/reward_study/dmoerm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "dmoerm"
  config.slug = "dmoerm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=6,
      num_tasks=3,
      num_experts=3,
      num_pairs=300,  # of each task
      num_test=1000,
      wrong=0.35,
      wrong_parts=0.1,
      width=32,
      rank=4,
      tag=4.0,
      num_steps=300,
      check_every=20,
      batch_size=60,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=20, num_test=8, width=8, num_steps=2,
             check_every=1, batch_size=5)
    )
  return config
