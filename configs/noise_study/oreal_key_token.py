"""One decisive digit among fillers: OREAL with and without token rewards.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/oreal_key_token.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "oreal_key_token"
  config.slug = "oreal_key_token"
  config.options = dict(
      seed=0,
      num_seeds=10,
      num_prompts=16,
      length=6,
      num_tokens=8,
      group_size=16,
      warm_up=10,
      num_steps=100,
      learning_rate=0.1,
      level=0.9,
      share=3.0,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_prompts=2, num_steps=3))
  return config
