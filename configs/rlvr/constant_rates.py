"""One pair of error rates and standardised groups: correcting changes nothing.

Run: python -m experiments.rlvr --config=configs/rlvr/constant_rates.py

(r - rho0) / J is affine in r, and standardising removes any affine map: the
corrected arm repeats the uncorrected one up to rounding. What noise costs
shows against the clean arm; no correction of this kind brings it back.
"""

import ml_collections as mlc

from configs.rlvr import base


def get_config(size: str = "small") -> mlc.ConfigDict:
  config = base.get_config(size)
  config.title = "Constant noise rates under standardised advantages"
  config.path = "configs/rlvr/constant_rates.py"
  config.slug = "noisy_verifier_correction_constant_rates"
  config.criterion.update(
      dict(
          text="backward ends where uncorrected does: paired gain within 0.01",
          arm="backward",
          low=-0.01,
          high=0.01,
      )
  )
  config.noise = dict(
      name="binary",
      false_positive=(0.15,),
      false_negative=(0.3,),
      per_group=False,
  )
  config.credit.estimator = "standardized"
  config.optimizer.learning_rate = 1e-3
  config.arms = dict(
      clean=dict(noise=dict(name="none")),
      uncorrected=dict(),
      backward=dict(correction=dict(name="backward")),
      denoised=dict(
          correction=dict(name="backward"),
          credit=dict(estimator="bernoulli_standardized"),
      ),
  )
  return config
