"""A quarter of 1500 labels lie; eight models tell which, by their margins.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/secrets_rm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "secrets_rm"
  config.slug = "secrets_rm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=10,
      num_pairs=1500,
      num_test=2000,
      width=64,
      flip_rate=0.25,
      gain=0.1,
      num_members=8,
      brief_steps=200,
      num_steps=2000,
      batch_size=64,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=20, num_test=32, batch_size=10, width=8,
             num_members=2, brief_steps=2, num_steps=3)
    )
  return config
