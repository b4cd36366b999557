"""A verifier whose error rates differ by kind of problem; five answers to it.

Run: python -m experiments.rlvr --config=configs/rlvr/noisy_verifier.py
Time: under five minutes on two CPU cores. Result: docs/results/ and README.

The policy is held near its first version by a KL penalty, as is usual. Its
optimum is then pi_ref exp(J r / beta): where the verifier is noisy, J < 1,
the penalty weighs more and the policy improves less. A backward correction
restores J = 1 for every kind; forward weights do not; see docs/noise.md.
"""

import ml_collections as mlc

from configs.rlvr import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Noise rates that differ by kind of problem"
  config.path = "configs/rlvr/noisy_verifier.py"
  config.slug = "noisy_verifier_correction"
  config.criterion.update(
      dict(
          text="backward ends above uncorrected: 95% interval of the paired "
          "gain",
          arm="backward",
          low=0.0,
          high=1.0,
      )
  )
  config.noise = dict(
      name="binary",
      # By kind: add, subtract, multiply; J = 0.93, 0.50, 0.40.
      false_positive=(0.02, 0.05, 0.30),
      false_negative=(0.05, 0.45, 0.30),
      per_group=False,
  )
  if size == "small":
    config.warm_up.num_steps = 30
  config.regularizer.kl_in_reward = 0.4
  config.arms = dict(
      clean=dict(noise=dict(name="none")),
      uncorrected=dict(),
      backward=dict(correction=dict(name="backward")),
      forward=dict(
          correction=dict(name="forward"),
          credit=dict(estimator="none"),
      ),
      appeals=dict(correction=dict(name="backward", rates="appeals")),
  )
  return config
