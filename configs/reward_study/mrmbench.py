"""Twelve reward models that learned one, two or three attributes.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/mrmbench.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "mrmbench"
  config.slug = "mrmbench"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_attributes=3,
      num_models=12,
      num_features=12,
      num_rows=500,
      num_prompts=300,
      num_samples=16,
      tail=0.3,
      least=0.7,
      num_pairs=500,
      width=4,
      num_steps=400,
      batch_size=50,
      learning_rate=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_models=3, num_rows=16, num_prompts=4,
        num_samples=2, num_pairs=8, num_steps=2, batch_size=4,
    ))
  return config
