"""Small runs of `experiments.rlvr` for the tests beside this file."""

import sys

from configs.rlvr import base


def small_config(*, arms, **changes):
  """Two seeds of a one-layer policy on two kinds of problem."""
  config = base.get_config("tiny")
  config.update(
      dict(
          task=dict(kinds=("add", "subtract"), max_operand=3, num_held_out=8),
          noise=dict(
              name="binary",
              false_positive=(0.1, 0.3),
              false_negative=(0.2, 0.3),
          ),
          warm_up=dict(num_steps=20, batch_size=16),
      )
  )
  config.update(changes)
  config.arms = arms
  return config


def resumable_config():
  """Long enough to be killed on the way."""
  return small_config(
      num_steps=24,
      checkpoint_every=4,
      regularizer=dict(kl_in_reward=0.1),
      arms=dict(
          uncorrected=dict(),
          appeals=dict(correction=dict(name="backward", rates="appeals")),
      ),
  )


if __name__ == "__main__":  # python -m tests.experiments.rlvr_runs WORKDIR DATA
  from absl import logging

  from experiments import rlvr

  logging.set_verbosity(logging.ERROR)
  rlvr.run(
      resumable_config(), sys.argv[1], data_dir=sys.argv[2], progress=False
  )
