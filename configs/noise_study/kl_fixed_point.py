"""E4: where learning with a KL penalty in the reward ends.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/kl_fixed_point.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "kl_fixed_point"
  config.slug = "noise_study_e4"
  method = lambda correction, scale: dict(
      correction=correction, coefficient_scale=scale
  )
  config.options = dict(
      seed=0,
      num_seeds=20,  # starting policies
      reference=(0.1, 0.4, 0.3, 0.2),
      correct=(1, 0, 0, 1),
      false_positive=0.1,
      false_negative=0.2,
      coefficient=0.5,
      num_steps=600,
      learning_rate=1.0,
      methods=dict(
          raw=method("none", "one"),
          backward=method("backward", "one"),
          forward=method("forward", "one"),
          forward_scaled_coefficient=method("forward", "youden"),
      ),
      tolerance=1e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
