"""E5: the false-negative rate drifts from 0.1 to 0.4; appeals follow it.

64 prompts of 8 arms, 8 samples each; half of the rejections are re-checked.
Run: python -m experiments.noise_study \\
  --config=configs/noise_study/drifting_rates.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "drifting_rates"
  config.slug = "noise_study_e5"
  config.options = dict(
      seed=0,
      num_seeds=20,
      num_prompts=64,
      num_arms=8,
      false_positive=0.1,
      false_negative=(0.1, 0.4),
      appeal_fraction=0.5,
      decay=0.9,
      num_steps=120,
      burn_in=10,
      group_size=8,
      learning_rate=1.0,
      tolerance=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=4, num_steps=4, burn_in=1)
    )
  return config
