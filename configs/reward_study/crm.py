"""Two models that select pairs for each other; 20 and 40 % of labels lie.

Run: python -m experiments.reward_study --config=configs/reward_study/crm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "crm"
  config.slug = "crm"
  config.options = dict(
      seed=0,
      num_seeds=6,
      dim=10,
      num_pairs=600,
      num_test=2000,
      width=64,
      rates=(0.2, 0.4),
      gain=0.1,
      num_epochs=150,
      batch_size=60,
      warmup=10,  # epochs until the full share is left out
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=24, num_test=32, batch_size=12, width=8,
             num_epochs=2, warmup=1)
    )
  return config
