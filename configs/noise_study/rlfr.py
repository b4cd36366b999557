"""Traces of s <- 2 s + x mod 5; the last result is what is rewarded.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/rlfr.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rlfr"
  config.slug = "rlfr"
  config.options = dict(
      seed=0,
      num_seeds=5,
      base=5,
      length=4,
      # States of eight numbers; a quarter of the answers is then right (on
      # other seeds).
      model=dict(width=8, num_layers=1, num_heads=2, mlp_width=64),
      imitation=dict(num_steps=200, learning_rate=0.01, batch_size=64),
      net=dict(width=32, depth=2),
      fit=dict(num_steps=300, learning_rate=0.01, batch_size=64),
      scored=dict(time=0.8, draws=4),
      corrupted=dict(num=256, intensity=0.2),
      learning=dict(
          num_steps=300,
          learning_rate=5e-3,
          batch_size=16,
          group_size=8,
          threshold=0.6,
      ),
      coefficient=0.01,
      window=5,
      level=0.8,
      within=0.02,
      least=0.7,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2,
            base=2,
            length=2,
            model=dict(width=4, num_layers=1, num_heads=1, mlp_width=4),
            imitation=dict(num_steps=1, learning_rate=0.01, batch_size=2),
            net=dict(width=4, depth=1),
            fit=dict(num_steps=1, learning_rate=0.01, batch_size=2),
            corrupted=dict(num=4, intensity=0.5),
            learning=dict(
                num_steps=2,
                learning_rate=5e-3,
                batch_size=2,
                group_size=2,
                threshold=0.6,
            ),
        )
    )
  return config
