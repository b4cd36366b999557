"""400 pairs with noisy ratings and noisy strengths.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/helpsteer2_preference.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "helpsteer2_preference"
  config.slug = "helpsteer2_preference"
  config.options = dict(
      seed=0,
      num_seeds=8,
      dim=8,
      num_pairs=400,
      num_test=4000,
      width=64,
      noise=0.5,
      factors=(1.2, 2.0),
      near=0.003,
      wins=6,
      num_steps=400,
      second_steps=200,
      batch_size=50,
      learning_rate=0.003,
      decay=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=16, num_test=16, width=8, num_steps=2,
             second_steps=2, batch_size=8)
    )
  return config
