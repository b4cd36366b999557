"""300 pairs of mixed quality; critiques clearer than the texts.

Run: python -m experiments.reward_study --config=configs/reward_study/mm_rlhf.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "mm_rlhf"
  config.slug = "mm_rlhf"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_pairs=300,
      length=10,
      label_noise=2.0,
      reward_noise=1.0,
      kl=3.0,
      base=0.1,
      weight=0.5,
      rate=0.5,
      critique_noise=(1.5, 0.5),
      better_seeds=3,
      num_steps=400,
      batch_size=50,
      learning_rate=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_pairs=8, length=3, num_steps=2, batch_size=4,
    ))
  return config
