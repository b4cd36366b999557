"""Every objective of `experiments.rlvr_recipes`, side by side, with noise too.

Run: python -m experiments.tournament --config=configs/tournament/rlvr.py
Time: about 14 minutes of one CPU core. Result: docs/tournament.md.
--config.tournament.scale=4 takes four times the seeds and the steps.

All recipes have the same optimiser, learning rate, samples, and updates of a
batch (those without a ratio make one), and the defaults of their papers.
"""

import ml_collections as mlc

from configs.rlvr import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Policy-gradient objectives, with and without noise"
  config.path = "configs/tournament/rlvr.py"
  config.slug = "tournament_rlvr"
  config.tournament = dict(
      recipes=(
          "reinforce",
          "reinforce_pp",
          "reinforce_pp_baseline",
          "rloo",
          "grpo",
          "dr_grpo",
          "dapo",
          "gspo",
          "cispo",
          "ppo",
          "lp_reg",
          "unlikeliness",
          "dcpo",
          "g2rpo",
          "stable_reinforce",
          "amft",
          "oreal",
      ),
      baseline="grpo",  # that the others are to improve on
      scale=1,  # times the seeds and the steps below
      threshold=0.7,  # accuracy until which samples are counted
      num_resamples=2000,  # of each bootstrap interval
  )
  # Decided before the run, by the lower end of the 95% interval.
  config.criterion.text = (
      "the order of the recipes by the clean verifier says something about "
      "their order by the noisy one: Spearman's correlation of their "
      "interquartile means above 0"
  )
  config.num_seeds = 5
  config.num_steps = 80
  config.log_every = 10
  config.checkpoint_every = 20
  # More than one: the ratio of new to old policy is 1 in the first update.
  config.updates_per_batch = 2
  config.sampling.update(dict(batch_size=16, group_size=8))
  # At 2e-3 every recipe loses accuracy in the first ten steps, up to 0.28.
  config.optimizer.learning_rate = 1e-3
  config.evaluation.pass_at = (4, 8)  # pass@1 is the accuracy
  # Of the noisy half; by kind: add, subtract, multiply.
  config.noise = dict(
      name="binary",
      false_positive=(0.02, 0.05, 0.30),
      false_negative=(0.05, 0.45, 0.30),
      per_group=False,
  )
  if size == "tiny":
    config.update(
        dict(
            num_seeds=2,
            num_steps=4,
            log_every=2,
            checkpoint_every=2,
            sampling=dict(batch_size=4, group_size=4),
        )
    )
    config.tournament.update(
        dict(recipes=("grpo", "rloo"), threshold=0.01, num_resamples=50)
    )
  return config
