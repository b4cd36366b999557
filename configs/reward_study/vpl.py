"""1500 users of two opposite kinds; eight comparisons tell which.

Run: python -m experiments.reward_study --config=configs/reward_study/vpl.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "vpl"
  config.slug = "vpl"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=6,
      num_users=1500,
      num_context=8,
      num_asked=8,
      num_test=200,
      hidden=32,
      size=4,
      coefficients=(0.001, 1.0),
      reach=0.9,
      plain_reach=0.65,
      collapse=0.01,
      num_steps=1500,
      batch_size=64,
      learning_rate=0.003,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_users=8, num_test=4, hidden=8, num_steps=2,
             batch_size=4)
    )
  return config
