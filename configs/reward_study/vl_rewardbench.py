"""Two judges of token texts, asked up to nine times.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/vl_rewardbench.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "vl_rewardbench"
  config.slug = "vl_rewardbench"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_pairs=300,
      num_test=1000,
      length=10,
      quality=1.0,
      style=0.9,
      style_share=0.8,
      num_votes=9,
      sharpness=0.5,
      bias=0.5,
      gain=0.1,
      width=16,
      num_steps=300,
      batch_size=50,
      learning_rate=0.01,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_pairs=10, num_test=16, length=3, num_votes=3,
        num_steps=2, batch_size=4,
    ))
  return config
