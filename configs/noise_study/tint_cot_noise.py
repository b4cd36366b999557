"""A small transformer learns arithmetic from corrupted working.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/tint_cot_noise.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "tint_cot_noise"
  config.slug = "tint_cot_noise"
  config.options = dict(
      seed=0,
      num_seeds=5,
      task=dict(program="affine", base=5, length=5, redundancy=0),
      conditions=dict(
          clean=dict(noise="none"),
          static=dict(noise="static", intensity=0.2),
          dynamic=dict(noise="dynamic", intensity=0.2),
      ),
      model=dict(width=32, num_layers=2, num_heads=4, mlp_width=64),
      num_steps=1000,
      batch_size=32,
      num_test=200,
      learning_rate=5e-3,
      clean_above=0.95,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, task=dict(length=2), num_steps=2, batch_size=4,
            num_test=8,
            model=dict(width=4, num_layers=1, num_heads=1, mlp_width=4),
        )
    )
  return config
