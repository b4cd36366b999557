"""Steps of TRL's GRPOTrainer, on order; started by `benchmarks.peer`.

Needs torch, transformers, trl (and gguf for a pretrained model), none of
which the package needs. Nothing is downloaded. Settings are those that are
fastest on a CPU and do the same work: float32, no gradient checkpointing, no
KL term, no clipping of gradients, one optimiser step per generation, no logs,
no checkpoints, the fused AdamW, scaled-dot-product attention. The end of a
sequence is a word outside of the model's vocabulary, so that every sample has
all its tokens and no logits need masking.
"""

import json
import os
import sys
import tempfile
import time

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers


def make_tokenizer(vocab_size: int) -> transformers.PreTrainedTokenizerFast:
  """Words are the numbers of tokens; the end stands behind the last."""
  words = {str(i): i for i in range(vocab_size)} | {"<end>": vocab_size}
  tokenizer = Tokenizer(models.WordLevel(words, unk_token="0"))
  tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  return transformers.PreTrainedTokenizerFast(
      tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>"
  )


# Of any trainer: nothing but steps, as fast as it takes them.
STEPS_ALONE = dict(
    max_steps=10**6,
    lr_scheduler_type="constant",
    max_grad_norm=0.0,
    optim="adamw_torch_fused",
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    dataloader_pin_memory=False,
    logging_strategy="no",
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
)


def make_llama_config(spec: dict, **options) -> transformers.LlamaConfig:
  """Sizes as the workload has them."""
  fields = spec["fields"]
  return transformers.LlamaConfig(
      vocab_size=fields["vocab_size"],
      hidden_size=fields["width"],
      intermediate_size=fields["mlp_width"],
      num_hidden_layers=fields["num_layers"],
      num_attention_heads=fields["num_heads"],
      num_key_value_heads=fields.get("num_kv_heads") or fields["num_heads"],
      rms_norm_eps=spec["norm_epsilon"],
      rope_parameters=dict(rope_type="default", rope_theta=spec["rope_base"]),
      attn_implementation="sdpa",
      **options,
  )


def make_model(spec: dict) -> transformers.PreTrainedModel:
  """The model of the file, or a random Llama model of the given sizes."""
  if spec["gguf"]:
    folder, name = os.path.split(spec["gguf"])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=torch.float32,
        attn_implementation="sdpa",
    )
    # Its weights are float32 now; the trainer refuses what says otherwise.
    model.is_quantized, model.hf_quantizer = False, None
  else:
    tied = spec["fields"].get("tied", True)
    config = make_llama_config(spec, tie_word_embeddings=tied)
    model = transformers.LlamaForCausalLM(config)
  # Else its own end would stop samples early.
  model.config.eos_token_id = model.generation_config.eos_token_id = None
  return model


def make_prompts(spec: dict, num_rows: int) -> list[str]:
  generator = torch.Generator().manual_seed(0)
  shape = (num_rows, spec["prompt_length"])
  rows = torch.randint(spec["vocab_size"], shape, generator=generator)
  return [" ".join(map(str, row)) for row in rows.tolist()]


def make_config(spec: dict, folder: str) -> trl.GRPOConfig:
  samples = spec["num_prompts"] * spec["group_size"]
  fields = dict(
      output_dir=folder,
      per_device_train_batch_size=samples // spec["num_microbatches"],
      gradient_accumulation_steps=spec["num_microbatches"],
      num_generations=spec["group_size"],
      max_completion_length=spec["new_tokens"],
      learning_rate=1e-6,
      beta=0.0,
      num_iterations=1,
      loss_type="grpo",
  )
  return trl.GRPOConfig(**STEPS_ALONE | fields | spec["options"])


def describe(spec: dict, model: transformers.PreTrainedModel) -> dict:
  """What the peer says of itself."""
  return dict(
      name=f"TRL {trl.__version__}",
      torch=torch.__version__,
      transformers=transformers.__version__,
      parameters=sum(p.numel() for p in model.parameters()),
      threads=torch.get_num_threads(),
      options=spec["options"],
  )


class Orders(transformers.TrainerCallback):
  """Waits for a number of steps, runs them, and answers with their times."""

  def __init__(self, model, about: dict, answers):
    """`answers` is where lines go; `about` is the first of them."""
    self.left, self.answers = 0, answers
    self.answer = about
    self.times = dict(total=[], sampling=[])
    self.sampling = 0.0
    for name in ("generate", "generate_batch"):
      setattr(model, name, self.timed(getattr(model, name)))

  def timed(self, function):
    """The same function, whose time counts as sampling."""

    def run(*args, **kwargs):
      start = time.perf_counter()
      try:
        return function(*args, **kwargs)
      finally:
        self.sampling += time.perf_counter() - start

    return run

  def on_step_begin(self, args, state, control, **kwargs):
    """Also fetching data has ended by now: it is not counted."""
    while not self.left:
      print(json.dumps(self.answer), file=self.answers, flush=True)
      line = sys.stdin.readline()
      if not line:
        sys.exit(0)
      self.left = int(line)
      self.times = self.answer = dict(total=[], sampling=[])
    self.sampling, self.start = 0.0, time.perf_counter()

  def on_step_end(self, args, state, control, **kwargs):
    """The optimiser has stepped."""
    self.times["total"].append(time.perf_counter() - self.start)
    self.times["sampling"].append(self.sampling)
    self.left -= 1


def main():
  spec = json.loads(sys.argv[1])
  # Libraries print; answers are alone on the pipe.
  answers, sys.stdout = sys.stdout, sys.stderr
  torch.set_num_threads(spec["threads"])
  model = make_model(spec)

  def reward(completion_ids, **kwargs):
    short = [x for x in completion_ids if len(x) != spec["new_tokens"]]
    if short:
      sys.exit(f"{len(short)} samples have not {spec['new_tokens']} tokens.")
    return [sum(i % 2 == 0 for i in x) / len(x) for x in completion_ids]

  about = describe(spec, model)
  with tempfile.TemporaryDirectory() as folder:
    trainer = trl.GRPOTrainer(
        model,
        reward_funcs=reward,
        args=make_config(spec, folder),
        train_dataset=Dataset.from_dict(
            {"prompt": make_prompts(spec, 64 * spec["num_prompts"])}
        ),
        processing_class=make_tokenizer(spec["vocab_size"]),
        callbacks=[Orders(model, about, answers)],
    )
    trainer.train()


if __name__ == "__main__":
  main()
