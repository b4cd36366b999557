"""Hugging Face's config.json as fields of a `Transformer`, and back.

What our Transformer does not compute is refused by the name of its field: a
model that loads computes what its authors trained.
"""

from collections.abc import Mapping
from typing import Any

from rewardjax.models.pretrained.source import Source
from rewardjax.models.transformer import Transformer

# model_type and the class that transformers loads it with.
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
ARCHITECTURES = tuple(_CLASSES)

_SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "norm_epsilon": "rms_norm_eps",
}
# Fields that may stand in a config only with these values; None is absent.
_ONLY = {
    "hidden_act": (None, "silu"),
    "attention_bias": (None, False),  # it has one on the output, too
    "mlp_bias": (None, False),
    "partial_rotary_factor": (None, 1.0),
    "use_sliding_window": (None, False),
    "quantization_config": (None,),
}


def transformer_fields(source: Source) -> dict[str, Any]:
  """Fields of the `Transformer` that computes what the checkpoint does.

  Raises:
    ValueError: naming the field that is missing, or that asks for something
      our Transformer does not have.
  """
  where, config = source.where, source.config
  kind = _get(where, config, "model_type")
  if kind not in _CLASSES:
    raise ValueError(
        f"{where}: model_type must be one of {', '.join(_CLASSES)}; got "
        f"{kind!r}."
    )
  for field, allowed in _ONLY.items():
    if config.get(field) not in allowed:
      _refuse(where, field, config[field])
  _check_windows(where, kind, config)
  sizes = {ours: _get(where, config, field) for ours, field in _SIZES.items()}
  # Qwen3's default in transformers, whatever its width.
  head = 128 if kind == "qwen3" else sizes["width"] // sizes["num_heads"]
  return dict(
      **sizes,
      num_kv_heads=config.get("num_key_value_heads") or sizes["num_heads"],
      head_dim=config.get("head_dim") or head,
      tied=_is_tied(source),
      qkv_bias=_has_biases(source, kind),
      qk_norm=kind == "qwen3",
      rope_base=_rope_base(where, config),
  )


def from_transformer(
    model: Transformer, *, context_length: int | None
) -> dict[str, Any]:
  """The config.json of a model, but for the dtype of its tensors.

  Raises:
    ValueError: if no architecture has both biases and norms of queries.
  """
  if model.qk_norm and model.qkv_bias:
    raise ValueError(
        "export: model must not have both qk_norm and qkv_bias: no "
        "architecture that transformers loads does."
    )
  kind = "qwen3" if model.qk_norm else "qwen2" if model.qkv_bias else "llama"
  config = {field: getattr(model, ours) for ours, field in _SIZES.items()}
  if context_length is not None:
    config["max_position_embeddings"] = context_length
  return dict(
      **config,
      architectures=[_CLASSES[kind]],
      model_type=kind,
      num_key_value_heads=model.kv_heads,
      head_dim=model.per_head,
      tie_word_embeddings=model.tied,
      hidden_act="silu",
      # Before and since version 5 of transformers.
      rope_theta=model.rope_base,
      rope_parameters=dict(rope_type="default", rope_theta=model.rope_base),
  )


def _get(where: str, config: Mapping[str, Any], field: str) -> Any:
  if config.get(field) is None:
    raise ValueError(f"{where}: field {field!r} of the config is missing.")
  return config[field]


def _refuse(where: str, field: str, value: Any):
  raise ValueError(f"{where}: {field} = {value!r} is not supported.")


def _check_windows(where: str, kind: str, config: Mapping[str, Any]):
  # Qwen names the size of a window that `use_sliding_window` turns off.
  if kind == "llama" and config.get("sliding_window") is not None:
    _refuse(where, "sliding_window", config["sliding_window"])
  layers = set(config.get("layer_types") or ()) - {"full_attention"}
  if layers:
    _refuse(where, "layer_types", sorted(layers))


def _rope_base(where: str, config: Mapping[str, Any]) -> float:
  """The base of plain RoPE; every scaling of it is refused."""
  settings = dict(config.get("rope_parameters") or {})
  scaling = config.get("rope_scaling") or {}
  for field, rope in (("rope_parameters", settings), ("rope_scaling", scaling)):
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
      _refuse(where, field, dict(rope))
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
      _refuse(where, field, dict(rope))
  base = settings.get("rope_theta", config.get("rope_theta"))
  return 10_000.0 if base is None else float(base)


def _is_tied(source: Source) -> bool:
  said = source.config.get("tie_word_embeddings", False)
  return bool(said) or "lm_head.weight" not in source.shapes


def _has_biases(source: Source, kind: str) -> bool:
  name = "model.layers.0.self_attn.q_proj.bias"
  return kind == "qwen2" or (kind == "llama" and name in source.shapes)
