"""Reward models with and without MetaRM's step, where the policy has moved.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/secrets_rm_meta.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "secrets_rm_meta"
  config.slug = "secrets_rm_meta"
  config.options = dict(
      seed=0,
      num_seeds=10,
      dim=10,
      num_pairs=1500,
      num_test=4000,
      num_prompts=500,
      num_answers=4,
      width=64,
      flip_rate=0.1,
      shifts=(0.0, 1.0, 2.0),
      moved=(1.0, 2.0),
      step_sizes=(0.0, 0.03, 0.1, 0.3),
      judged=0.1,
      num_steps=1000,
      batch_size=64,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_pairs=20, num_test=16, num_prompts=4,
             batch_size=10, width=8, step_sizes=(0.0, 0.1), num_steps=3)
    )
  return config
