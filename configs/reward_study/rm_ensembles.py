"""Best of up to 1024 by one reward model and by five; a quarter of labels lie.

Run: python -m experiments.reward_study \\
  --config=configs/reward_study/rm_ensembles.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "rm_ensembles"
  config.slug = "rm_ensembles"
  config.options = dict(
      seed=0,
      num_seeds=6,
      dim=16,
      num_pairs=600,
      flip_rate=0.25,
      tail=0.03,
      limit=5.5,
      num_prompts=24,
      num_candidates=2048,
      sizes=(1, 4, 16, 64, 256, 1024),
      coefficient=2.0,
      falls=0.2,
      holds=0.02,
      num_members=5,
      width=64,
      activation="tanh",
      num_steps=1500,
      batch_size=64,
      learning_rate=3e-3,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=4, num_candidates=16, sizes=(1, 8),
             num_pairs=32, batch_size=16, num_steps=3)
    )
  return config
