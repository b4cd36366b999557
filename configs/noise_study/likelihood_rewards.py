"""Likelihood of a clean reference answer: which kind of it learns.

16 reasonings of 32 prompts, the log-likelihood of a token in [-2, -0.1].

Run: python -m experiments.noise_study \
  --config=configs/noise_study/likelihood_rewards.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "likelihood_rewards"
  config.slug = "likelihood_rewards"
  config.options = dict(
      seed=0,
      num_seeds=5,
      num_prompts=32,
      num_chains=16,
      lengths=(1, 50),
      low=-2.0,
      high=-0.1,
      kinds=(
          "binary",
          "prob",
          "mean_prob",
          "log_prob",
          "mean_log_prob",
          "geometric",
      ),
      group_size=16,
      num_steps=200,
      learning_rate=1.0,
      epsilon=1e-4,
      within=0.01,
      worse=0.2,
  )
  if size == "tiny":  # what the tests run
    config.options.update(
        dict(num_seeds=2, num_prompts=2, lengths=(2,), num_steps=3)
    )
  return config
