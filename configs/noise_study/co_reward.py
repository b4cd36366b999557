"""Two wordings of one problem, each with errors of its own; no labels.

200 pairs of prompts with 6 answers.

Run: python -m experiments.noise_study \
  --config=configs/noise_study/co_reward.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "co_reward"
  config.slug = "co_reward"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=200,
      num_answers=6,
      # An accuracy of about a quarter at the start.
      bonus=0.5,
      spread=1.0,
      group_size=8,
      num_steps=60,
      learning_rate=1.0,
      margin=0.03,
      wins=0.8,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_prompts=4, num_steps=3))
  return config
