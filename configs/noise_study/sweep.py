"""Error rates x corrections x normalisations, as one compiled program.

Run: python -m experiments.noise_study \\
  --config=configs/noise_study/sweep.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "sweep"
  config.slug = "noise_study_sweep"
  config.options = dict(
      seed=0,
      num_seeds=20,
      false_positive=(0.0, 0.1, 0.2, 0.3, 0.4),
      false_negative=(0.0, 0.1, 0.2, 0.3, 0.4),
      corrections=("none", "backward", "forward"),
      normalizations=(
          "none",
          "centered",
          "leave_one_out",
          "standardized",
          "batch_scaled",
          "bernoulli_standardized",
      ),
      # A policy for each prompt; rates the same for all.
      constant=dict(
          learn=dict(
              num_prompts=8,
              num_arms=4,
              group_size=4,
              num_steps=60,
              learning_rate=1.0,
          ),
          exact=dict(num_prompts=1, num_arms=4, group_size=3),
      ),
      # One policy; half of the prompts judged without error.
      mixed=dict(
          learn=dict(
              num_prompts=4,
              num_arms=4,
              worth=0.6,
              group_size=4,
              num_steps=300,
              learning_rate=0.5,
          ),
          exact=dict(num_prompts=2, num_arms=3, worth=0.6, group_size=2),
      ),
      tolerance=1e-4,
      gain=0.2,
  )
  if size == "tiny":  # what the tests run
    steps = dict(learn=dict(num_steps=3))
    config.options.update(
        dict(
            num_seeds=2,
            false_positive=(0.0, 0.4),
            false_negative=(0.0, 0.4),
            corrections=("none", "backward"),
            normalizations=("leave_one_out",),
            constant=steps,
            mixed=steps,
        )
    )
  return config
