"""Heads of one to five layers on 128 frozen features.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/basereward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "basereward"
  config.slug = "basereward"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=10,
      num_features=128,
      sizes=(1500, 8000),
      flip_rate=0.25,
      num_test=4000,
      heads=(
          "1 layer",
          "2 layers, silu",
          "2 layers, tanh",
          "5 layers, silu",
          "2 layers, silu, to zero",
      ),
      num_steps=1200,
      batch_size=64,
      learning_rate=0.001,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_features=8, sizes=(8, 16), num_test=16,
             num_steps=2, batch_size=8, heads=('1 layer', '2 layers, silu',
             '2 layers, silu, to zero'))
    )
  return config
