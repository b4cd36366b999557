"""Answers with synonyms, as they are, reworded at random, and by their hull.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rm_consistency_convex.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rm_consistency_convex"
  config.slug = "rm_consistency_convex"
  config.options = dict(
      seed=0,
      num_seeds=8,
      num_test=2000,
      width=16,
      changed=2,
      harm=0.01,
      num_steps=400,
      batch_size=64,
      learning_rate=0.01,
  )
  config.options.world = dict(
      asked=6,
      length=10,
      skills=(0.7, 0.2),
      num_forms=4,
      usual=0.7,
  )
  config.options.data = dict(
      num_pairs=400,
      num_variants=5,
      altered=2,
      flip_rate=0.1,
  )
  config.options.data.embed = dict(width=16, blur=0.3)
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_test=16, num_steps=2, batch_size=8)
    )
    config.options.data.update(dict(num_pairs=8))
  return config
