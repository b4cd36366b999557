"""The transformer in float64 NumPy loops, one row and one token at a time."""

import numpy as np


def rms_norm(x, scale, epsilon):
  return x / np.sqrt(np.mean(x * x) + epsilon) * scale


def turn(x, position, base):
  """Rotates pair (i, i + H/2) by position / base^(2i/H)."""
  half = len(x) // 2
  out = np.empty_like(x)
  for i in range(half):
    angle = position / base ** (2 * i / len(x))
    c, s = np.cos(angle), np.sin(angle)
    out[i] = x[i] * c - x[i + half] * s
    out[i + half] = x[i + half] * c + x[i] * s
  return out


def turn_neighbours(x, position, base):
  """Rotates pair (2i, 2i + 1) instead: what llama.cpp does to Llama."""
  out = np.empty_like(x)
  for i in range(len(x) // 2):
    angle = position / base ** (2 * i / len(x))
    c, s = np.cos(angle), np.sin(angle)
    out[2 * i] = x[2 * i] * c - x[2 * i + 1] * s
    out[2 * i + 1] = x[2 * i + 1] * c + x[2 * i] * s
  return out


def project(dense, x):
  return x @ dense["kernel"] + dense.get("bias", 0)


def forward(model, params, tokens, turn=turn):
  """Features [T, D] of one unpadded row."""
  heads = model.num_heads
  kv_heads = model.num_kv_heads or heads
  epsilon, base, size = model.norm_epsilon, model.rope_base, model.per_head
  x = [params["embedding"][token] for token in tokens]
  for layer in range(model.num_layers):
    p = params[f"layers_{layer}"]
    a = p["attention"]
    normed = [rms_norm(h, p["attention_norm"]["scale"], epsilon) for h in x]
    queries, keys, values = [], [], []
    for t, h in enumerate(normed):
      for name, number, to in (
          ("query", heads, queries),
          ("key", kv_heads, keys),
      ):
        split = project(a[name], h).reshape(number, size)
        if model.qk_norm:
          scale = a[f"{name}_norm"]["scale"]
          split = [rms_norm(head, scale, epsilon) for head in split]
        to.append([turn(head, t, base) for head in split])
      values.append(project(a["value"], h).reshape(kv_heads, size))
    for t in range(len(x)):
      read = []
      for n in range(heads):
        k = n // (heads // kv_heads)
        scores = [
            queries[t][n] @ keys[s][k] / np.sqrt(size) for s in range(t + 1)
        ]
        weights = np.exp(np.array(scores) - max(scores))
        weights = weights / weights.sum()
        read.append(sum(w * values[s][k] for s, w in enumerate(weights)))
      x[t] = x[t] + np.concatenate(read) @ a["out"]["kernel"]
      h = rms_norm(x[t], p["mlp_norm"]["scale"], epsilon)
      m = p["mlp"]
      gate = h @ m["gate"]["kernel"]
      hidden = gate / (1 + np.exp(-gate)) * (h @ m["up"]["kernel"])
      x[t] = x[t] + hidden @ m["down"]["kernel"]
  return np.stack(
      [rms_norm(h, params["final_norm"]["scale"], epsilon) for h in x]
  )
