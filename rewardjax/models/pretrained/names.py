"""Names of our parameters in Hugging Face's and in GGUF's language."""

import re
from typing import NamedTuple

from rewardjax.models.transformer import Transformer

_TOP = {
    "embedding": "model.embed_tokens.weight",
    "final_norm/scale": "model.norm.weight",
    "unembedding": "lm_head.weight",
}
# Of one layer: ours, Hugging Face's, GGUF's.
_LAYER = (
    ("attention_norm", "input_layernorm", "attn_norm"),
    ("attention/query", "self_attn.q_proj", "attn_q"),
    ("attention/key", "self_attn.k_proj", "attn_k"),
    ("attention/value", "self_attn.v_proj", "attn_v"),
    ("attention/query_norm", "self_attn.q_norm", "attn_q_norm"),
    ("attention/key_norm", "self_attn.k_norm", "attn_k_norm"),
    ("attention/out", "self_attn.o_proj", "attn_output"),
    ("mlp_norm", "post_attention_layernorm", "ffn_norm"),
    ("mlp/gate", "mlp.gate_proj", "ffn_gate"),
    ("mlp/up", "mlp.up_proj", "ffn_up"),
    ("mlp/down", "mlp.down_proj", "ffn_down"),
)
_GGUF_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class Leaf(NamedTuple):
  """One parameter of one layer, or one that stands outside the layers."""

  path: str  # within its layer: "attention/query/kernel"; or "embedding"
  name: str  # Hugging Face's, with {} where the layer's number goes
  shape: tuple[int, ...]  # ours
  in_layer: bool

  @property
  def transposed(self) -> bool:
    """Whether the checkpoint's tensor is ours transposed."""
    return self.path.endswith("kernel")

  @property
  def stored_shape(self) -> tuple[int, ...]:
    """Shape of the checkpoint's tensor."""
    return self.shape[::-1] if self.transposed else self.shape


def leaves(model: Transformer) -> list[Leaf]:
  """Every parameter of the model; those of a layer once for all layers."""
  width, inner = model.width, model.mlp_width
  head = model.per_head
  queries = model.num_heads * head
  keys = model.kv_heads * head
  table = (model.vocab_size, width)
  kernels = {
      "attention/query": (width, queries),
      "attention/key": (width, keys),
      "attention/value": (width, keys),
      "attention/out": (queries, width),
      "mlp/gate": (width, inner),
      "mlp/up": (width, inner),
      "mlp/down": (inner, width),
  }
  scales = {"attention_norm": (width,), "mlp_norm": (width,)}
  if model.qk_norm:
    scales |= {"attention/query_norm": (head,), "attention/key_norm": (head,)}
  biases = {}
  if model.qkv_bias:
    projections = ("attention/query", "attention/key", "attention/value")
    biases = {path: kernels[path][1:] for path in projections}
  shapes = {"embedding": table, "final_norm/scale": (width,)}
  if not model.tied:
    shapes["unembedding"] = table
  found = [Leaf(path, _TOP[path], shapes[path], False) for path in shapes]
  theirs = {ours: name for ours, name, _ in _LAYER}
  for ending, stored, group in (
      ("kernel", "weight", kernels),
      ("scale", "weight", scales),
      ("bias", "bias", biases),
  ):
    for path, shape in group.items():
      name = f"model.layers.{{}}.{theirs[path]}.{stored}"
      found.append(Leaf(f"{path}/{ending}", name, shape, True))
  return found


def from_gguf(name: str) -> str:
  """Hugging Face's name of a GGUF tensor; one we do not know stays itself."""
  layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
  theirs = {gguf: hugging_face for _, hugging_face, gguf in _LAYER}
  if layer and layer[2] in theirs:
    return f"model.layers.{layer[1]}.{theirs[layer[2]]}.{layer[3]}"
  return _GGUF_TOP.get(name, name)
