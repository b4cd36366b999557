"""Members that differ by random encoders, or by heads on the same encoder.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/helping_or_herding.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "helping_or_herding"
  config.slug = "helping_or_herding"
  config.options = dict(
      seed=0,
      num_seeds=6,
      dim=10,
      num_pairs=600,
      num_test=2000,
      flip_rate=0.1,
      spurious=1.0,
      num_features=48,
      num_members=5,
      centre=0.01,
      num_prompts=16,
      num_candidates=1024,
      size=256,
      top=0.05,
      least=0.9,
      num_steps=500,
      batch_size=64,
      learning_rate=1e-2,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=16, num_test=16, num_prompts=2,
             num_candidates=32, size=8, num_features=8, num_members=2, top=0.2,
             batch_size=8, num_steps=2)
    )
  return config
