"""SmolLM2-135M-Instruct on small problems, rewarded by a strict verifier.

The strict verifier compares strings and rejects right answers in words or in
other spellings; a share of its verdicts goes to math-verify, whose findings
are estimated into the rates of a backward correction. math-verify is also
what the curves show.

Run: python -m experiments.rlvr --config=configs/rlvr/smollm2.py
     python -m experiments.rlvr --config=configs/rlvr/smollm2.py:full
"""

import ml_collections as mlc

from configs.rlvr import base

_DATASETS = dict(
    chain_sum=dict(min_terms=2, max_terms=2, min_digits=1, max_digits=1),
    products=dict(min_terms=2, max_terms=2, min_digits=1, max_digits=2),
)


def get_config(size: str = "lora") -> mlc.ConfigDict:
  if size not in ("lora", "full", "tiny"):
    raise ValueError(f"size must be 'lora', 'full' or 'tiny', got {size!r}.")
  config = base.get_config("tiny" if size == "tiny" else "small")
  config.title = "SmolLM2 on arithmetic, by a strict verifier with appeals"
  config.path = "configs/rlvr/smollm2.py"
  config.slug = f"smollm2_{size}"
  config.criterion.update(
      dict(
          text=(
              "accuracy by math-verify ends above its start: 95% interval of "
              "the paired gain"
          ),
          arm="appeals",
          over="start",
          low=0.0,
          high=1.0,
      )
  )
  config.num_seeds = 3
  config.agents = "scan"  # vmapped, they take three times the memory
  config.num_steps = 15
  config.log_every = 5
  config.checkpoint_every = 5
  config.task.update(
      dict(
          name="reasoning_gym",
          datasets=_DATASETS,
          kinds=tuple(_DATASETS),
          num_train=200,
          num_held_out=96,
          tokenizer="pretrained",
          chat=True,
          suffix="\nGive only the final answer.",
          prompt_length=64,
          answer_length=16,
      )
  )
  config.model.update(dict(pretrained="smollm2", scan_layers=True))
  config.verifier.update(
      dict(
          name="strict_ending",
          trusted="math_verify",
          timeout_s=20.0,
          memory_mb=1024,
          num_workers=1,
      )
  )
  config.sampling.update(
      dict(batch_size=4, group_size=8, temperature=0.7, halvings=1, lanes=4)
  )
  config.evaluation.update(dict(num_samples=1, greedy=True))
  config.correction.update(dict(name="backward", rates="appeals"))
  config.optimizer.update(dict(learning_rate=1e-4, b2=0.95))
  config.lora.update(dict(rank=16, scale=2.0))
  config.arms = dict(appeals=dict())
  if size == "full":
    config.lora.rank = 0
    config.optimizer.learning_rate = 1e-5
  return config
