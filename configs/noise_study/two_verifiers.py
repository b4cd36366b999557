"""E2: one policy, an honest and a noisy verifier.

Half of the prompts pay 0.6 for arm 0, judged without error; the other half
pay 1 for arm 1, judged with both error rates at 0.4.
Run: python -m experiments.noise_study \\
  --config=configs/noise_study/two_verifiers.py
"""

import ml_collections as mlc


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.study = "two_verifiers"
  config.slug = "noise_study_e2"
  plain = lambda correction: dict(correction=correction, normalization="none")
  config.options = dict(
      seed=0,
      num_seeds=20,
      num_prompts=2,  # one of each kind, 16 samples each: 32 a step
      group_size=16,
      worth=0.6,
      false_positive=0.4,
      false_negative=0.4,
      num_steps=400,
      # Two logits move apart twice as fast as one logit at 0.5.
      learning_rate=0.25,
      methods=dict(
          raw=plain("none"),
          backward=plain("backward"),
          forward=plain("forward"),
          scaled_forward=plain("scaled_forward"),
          grpo=dict(correction="none", normalization="standardized"),
          backward_grpo=dict(
              correction="backward", normalization="standardized"
          ),
      ),
      within=0.01,
      below=0.15,
  )
  if size == "tiny":  # what the tests run
    config.options.update(dict(num_seeds=2, num_steps=3))
  return config
