"""Answers of SmolLM2-135M-Instruct to small problems of reasoning-gym.

Run: python -m experiments.sample_answers --config=configs/audit/smollm2.py
"""

import ml_collections as mlc

# Small enough that a model of 135M parameters solves some of each.
_DATASETS = (
    ("chain_sum", dict(min_terms=2, max_terms=2, min_digits=1, max_digits=1)),
    ("products", dict(min_terms=2, max_terms=2, min_digits=1, max_digits=2)),
    (
        "decimal_chain_sum",
        dict(
            min_terms=2,
            max_terms=2,
            min_digits=1,
            max_digits=1,
            min_decimal_places=1,
            max_decimal_places=1,
        ),
    ),
    (
        "fraction_simplification",
        dict(
            min_value=1,
            max_value=12,
            min_factor=2,
            max_factor=5,
            styles=("plain",),
        ),
    ),
    ("gcd", dict(min_numbers=2, max_numbers=2, min_value=2, max_value=30)),
    ("lcm", dict(min_numbers=2, max_numbers=2, min_value=2, max_value=12)),
    (
        "simple_equations",
        dict(min_terms=2, max_terms=2, min_value=1, max_value=9),
    ),
    ("letter_counting", dict(min_words=2, max_words=3)),
)


def get_config(size: str = "small") -> mlc.ConfigDict:
  if size not in ("small", "tiny"):
    raise ValueError(f"size must be 'small' or 'tiny', got {size!r}.")
  config = mlc.ConfigDict()
  config.slug = "audit_smollm2"  # of runs/
  config.seed = 0
  # "reasoning_gym" makes problems; "jsonl" reads prompts and answers at
  # `path`, and their groups from the column `group_field` if it is named.
  config.task = dict(
      name="reasoning_gym",
      datasets=_DATASETS,
      num_questions=50,  # of each data set
      seed=0,
      path="",
      group_field="",
  )
  # A name that models.pretrained knows, a .gguf file or a folder.
  config.model = dict(name="smollm2", dtype="float32")
  config.prompt = dict(
      system="",
      suffix="\nGive only the final answer.",
      multiple=32,  # prompts of a batch are padded to a multiple of this
  )
  config.sampling = dict(
      num_samples=4,  # of each question
      batch_size=25,  # questions
      max_new_tokens=32,
      temperature=0.7,
      top_k=0,  # 0: off
      top_p=1.0,  # 1: off
  )
  if size == "tiny":
    config.update(
        dict(
            task=dict(num_questions=2),
            sampling=dict(num_samples=2, batch_size=8, max_new_tokens=8),
        )
    )
  return config
