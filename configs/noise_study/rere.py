"""A shop of forty items spelt in three tokens; the next purchase is wanted.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/rere.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rere"
  config.slug = "rere"
  config.options = dict(
      seed=0,
      num_seeds=5,
      catalogue=dict(num_items=40, length=3, vocab_size=6, sharpness=2.0),
      history=3,
      width=32,
      test=128,
      imitation=dict(num_steps=200, learning_rate=0.01, batch_size=32),
      learning=dict(
          num_steps=200,
          learning_rate=5e-3,
          batch_size=32,
          group_size=16,
          kl=1e-3,
      ),
      margin=0.02,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(
            num_seeds=2,
            catalogue=dict(num_items=10, length=2, vocab_size=4, sharpness=2.0),
            history=1,
            width=4,
            test=2,
            imitation=dict(num_steps=1, learning_rate=0.01, batch_size=2),
            learning=dict(
                num_steps=2,
                learning_rate=5e-3,
                batch_size=2,
                group_size=3,
                kl=1e-3,
            ),
        )
    )
  return config
