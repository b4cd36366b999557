"""Steps of TRL's RewardTrainer, on order; started by `benchmarks.peer`.

As `trl_grpo.py`, whose models, tokenizer and orders it takes: float32, no
gradient checkpointing, no clipping of gradients, no logs, no checkpoints, the
fused AdamW, scaled-dot-product attention. Pairs are tokens already.
"""

import json
import sys
import tempfile
import types

import torch
import transformers
import trl
from datasets import Dataset
from trl_grpo import (
    STEPS_ALONE,
    Orders,
    describe,
    make_llama_config,
    make_tokenizer,
)


def make_model(spec: dict) -> transformers.PreTrainedModel:
  """A random Llama model of the given sizes with one linear output."""
  config = make_llama_config(spec, num_labels=1, pad_token_id=0)
  return transformers.LlamaForSequenceClassification(config)


def make_pairs(spec: dict) -> Dataset:
  """The given pairs, again and again; none has the padding's id, 0."""
  return Dataset.from_dict(
      {f"{name}_ids": 64 * spec[name] for name in ("chosen", "rejected")}
  )


def make_config(spec: dict, folder: str) -> trl.RewardConfig:
  fields = dict(
      output_dir=folder,
      per_device_train_batch_size=len(spec["chosen"]),
      learning_rate=1e-4,
      center_rewards_coefficient=spec["centre"],
      max_length=None,
  )
  return trl.RewardConfig(**STEPS_ALONE | fields | spec["options"])


def main():
  spec = json.loads(sys.argv[1])
  # Libraries print; answers are alone on the pipe.
  answers, sys.stdout = sys.stdout, sys.stderr
  torch.set_num_threads(spec["threads"])
  model = make_model(spec)
  about = describe(spec, model)
  nothing = types.SimpleNamespace(generate=None, generate_batch=None)
  tokenizer = make_tokenizer(spec["fields"]["vocab_size"])
  with tempfile.TemporaryDirectory() as folder:
    trainer = trl.RewardTrainer(
        model,
        args=make_config(spec, folder),
        train_dataset=make_pairs(spec),
        processing_class=tokenizer,
        callbacks=[Orders(nothing, about, answers)],
    )
    trainer.train()


if __name__ == "__main__":
  main()
