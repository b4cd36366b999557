"""One step on N samples of 200 items: how often it goes backwards.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/brorl_balance.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "brorl_balance"
  config.slug = "brorl_balance"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_items=200,
      num_right=60,
      right_mass=0.263,
      spread=1.0,  # of the logits
      num_samples=(1, 4, 16, 64, 256),
      num_trials=400,
      below=1e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_samples=(1, 64), num_trials=4))
  return config
