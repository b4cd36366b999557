"""Trees of chains of four steps, a tool that is right in 85 % of the steps.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/grounded_prm.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "grounded_prm"
  config.slug = "grounded_prm"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_problems=80,
      num_test=2000,
      num_features=8,
      signal=1.5,
      skill=(0.5, 0.95),
      world=dict(depth=4, tool_accuracy=0.85, wrong_rate=0.12),
      search=dict(num_rounds=24),
      num_paths=3,
      num_samples=12,
      num_steps=400,
      batch_size=64,
      learning_rate=0.05,
      margin=0.15,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(
        num_seeds=2, num_problems=2, num_test=8, num_steps=3, batch_size=4,
        world=dict(depth=2), search=dict(num_rounds=6),
    ))
  return config
