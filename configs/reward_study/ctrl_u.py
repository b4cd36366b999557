"""A one-step generator and a reading that is nonsense beyond a border; 5 seeds.

Run: python -m experiments.reward_study --config=configs/reward_study/ctrl_u.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "ctrl_u"
  config.slug = "ctrl_u"
  config.options = dict(
      seed=0,
      num_seeds=5,
      borders=(0.0, 1.8),  # of a circle of radius 2
      frequency=60.0,
      widths=(64, 64),
      data_size=2048,
      num_test=1000,
      max_time=0.4,
      step=0.02,
      weight=1.0,
      wins=0.8,
      num_steps=400,
      batch_size=128,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, widths=(8,), num_steps=2, num_test=20)
    )
  return config
