"""Ten methods under six kinds of noise of preference labels.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/preference_noise.py --write_results
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "preference_noise"
  config.slug = "preference_noise"
  config.options = dict(
      seed=0,
      num_seeds=5,
      dim=10,
      num_pairs=600,
      num_test=2000,
      width=48,
      num_members=5,
      brief_steps=150,
      num_epochs=80,
      warmup=10,  # epochs until co-teaching leaves out its full share
      batch_size=60,
      learning_rate=3e-3,
      gain=0.05,
      source_gain=0.03,
      near=0.05,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=24, num_test=32, batch_size=12, width=8,
             num_members=2, brief_steps=2, num_epochs=2, warmup=1)
    )
  return config
