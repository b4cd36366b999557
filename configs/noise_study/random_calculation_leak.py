"""The leak probe on small transformers, with and without a leaked benchmark.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/random_calculation_leak.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "random_calculation_leak"
  config.slug = "random_calculation_leak"
  config.options = dict(
      seed=0,
      num_seeds=5,
      calculation=dict(
          n_ops=3,
          operands=(10, 99),
          operators=("+", "-", "*"),
          max_magnitude=9999,
          held_out=0.1,
      ),
      length=24,  # prompts have 16 characters
      model=dict(width=48, num_layers=2, num_heads=4, mlp_width=96),
      num_leaked=200,
      num_clean=6400,
      num_probed=100,
      num_steps=800,
      batch_size=32,
      learning_rate=5e-3,
      fractions=(0.4, 0.6, 0.8),
      known=0.9,
      unknown=0.1,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2, num_leaked=4, num_clean=6, num_probed=3,
            num_steps=2, batch_size=3, fractions=(0.6,),
            model=dict(width=4, num_layers=1, num_heads=1, mlp_width=4),
        )
    )
  return config
