"""300 pairs whose style goes with the label; 30 % of them augmented.

Run: python -m experiments.reward_study --config=configs/reward_study/reform.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "reform"
  config.slug = "reform"
  config.options = dict(
      seed=0,
      num_seeds=8,
      num_pairs=300,
      num_test=1000,
      length=10,
      style=0.9,
      style_share=0.8,
      share=0.3,
      strength=12.0,
      temperature=0.3,
      width=16,
      num_steps=300,
      batch_size=50,
      learning_rate=0.01,
      gain=0.08,
      harm=0.01,
      kept=0.95,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_pairs=10, num_test=16, length=3, num_steps=2,
        batch_size=4,
    ))
  return config
