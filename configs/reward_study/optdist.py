"""3000 customers of three kinds, most of whom spend nothing.

Run: python -m experiments.reward_study --config=configs/reward_study/optdist.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "optdist"
  config.slug = "optdist"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_rows=3000,
      num_test=3000,
      width=64,
      wide=128,
      num_experts=4,
      learning_rate=0.003,
      soft_weight=0.5,
      num_steps=1000,
      batch_size=128,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_rows=16, num_test=16, width=8, wide=8,
             num_steps=2, batch_size=8)
    )
  return config
