"""2500 problems, 8 completions of each beginning, 128 answers of each.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/scan_prm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "scan_prm"
  config.slug = "scan_prm"
  config.options = dict(
      seed=0,
      num_seeds=6,
      num_problems=2500,
      num_test=2000,
      num_chain_steps=8,
      num_features=8,
      signal=1.5,
      skill=(0.3, 1.0),
      labels=dict(
          num_answers=128, num_samples=8, wrong_rate=0.12, least=0.75
      ),
      num_steps=400,
      batch_size=64,
      learning_rate=0.05,
      margin=0.1,
      within=0.03,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_problems=32, num_test=32, num_chain_steps=3,
        num_steps=3, batch_size=8,
    ))
  return config
