"""A linear classifier on labels with hidden positives, repaired or not.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/tacred_noise.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "tacred_noise"
  config.slug = "tacred_noise"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_train=2000,
      num_test=2000,
      num_classes=5,
      dimensions=8,
      distance=3.5,
      negatives=0.6,
      noise=0.35,
      k=10,
      num_steps=300,
      margin=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_train=80, num_test=40, num_steps=3)
    )
  return config
