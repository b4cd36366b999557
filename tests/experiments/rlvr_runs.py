"""Small runs of `experiments.rlvr` for the tests beside this file."""

import json
import os
import pathlib
import signal
import sys

import numpy as np

from configs.rlvr import base
from rewardjax.training.logging import read_rows
from tests.models import checkpoints

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)

# A model that knows nothing is never right: without lies there is nothing to
# learn, and the optimiser would enlarge rounding errors.
TOKENS = dict(
    verifier=dict(name="tokens", trusted="tokens"),
    noise=dict(name="binary", false_positive=(0.4,), false_negative=(0.4,)),
)


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


def write_checkpoint(folder):
  """A random model of two layers, with a tokenizer and a chat template."""
  golden = json.loads((GOLDENS / "tokens.json").read_text())
  vocab, tensors = golden["vocab"], checkpoints.gguf_tensors(tied=True)
  rng = np.random.default_rng(0)
  table = rng.normal(0, 0.3, (len(vocab), 32)).astype(np.float32)
  ids = dict(bos=1, eos=2, padding=0)
  fields = checkpoints.gguf_fields() | {
      "tokenizer.chat_template": TEMPLATE,
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "smollm",
      "tokenizer.ggml.tokens": vocab,
      "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(vocab) - 3),
      "tokenizer.ggml.merges": golden["merges"],
      **{f"tokenizer.ggml.{name}_token_id": x for name, x in ids.items()},
  }
  path = folder / "tiny.gguf"
  tensors["token_embd.weight"] = table
  checkpoints.write_gguf(path, tensors, fields)
  return str(path)


def pretrained_config(checkpoint, *, arms=None, **changes):
  """Adapters of that model, judged by text; two steps."""
  config = small_config(
      arms=arms or dict(arm=dict()),
      num_steps=2,
      log_every=1,
      checkpoint_every=1,
      noise=dict(name="none"),
      model=dict(pretrained=checkpoint, scan_layers=True),
      lora=dict(rank=2),
      regularizer=dict(kl_in_reward=0.1),
      optimizer=dict(learning_rate=0.05),
      verifier=dict(
          name="trl",
          trusted="trl",
          function="tests.experiments.rlvr_runs:evenness",
      ),
  )
  config.task.update(
      dict(tokenizer="pretrained", chat=True, prompt_length=40, suffix=" ?")
  )
  config.update(changes)
  return config


def evenness(prompts, completions, **columns):
  """A coin for each text: something to learn for a model that knows nothing."""
  del prompts, columns
  return [float(sum(map(ord, text)) % 2) for text in completions]


def fragile(prompts, completions, **columns):
  """`evenness` in a worker that some problems kill."""
  if prompts and "-2" in prompts[0]:
    os.kill(os.getpid(), signal.SIGKILL)
  return evenness(prompts, completions, **columns)


def rows_of(workdir, stage="train"):
  """Metrics by row, without the name of their stage."""
  rows = read_rows(workdir / "metrics.jsonl", stage=stage)
  return [{k: v for k, v in row.items() if k != "stage"} for row in rows]


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
