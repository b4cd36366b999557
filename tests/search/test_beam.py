import itertools

import jax
import numpy as np
import pytest

from rewardjax.models import incremental, transformer
from rewardjax.search import beam, tries
from tests.policies import tabular

VOCAB = tabular.VOCAB
RNG = np.random.default_rng(0)
ALL = list(itertools.product(range(VOCAB), repeat=3))
ITEMS = [ALL[i] for i in RNG.permutation(len(ALL))[:30]]
TRIE = tries.prefix_trie(ITEMS, vocab_size=VOCAB)
PROMPTS = np.array([[0, 1], [3, 2], [4, 4]])
MASK = np.ones(PROMPTS.shape, bool)


def search(trie=TRIE, num_beams=6, **options):
  options = dict(max_new_tokens=3) | options

  @jax.jit
  def run(logits, prompts, mask):
    return beam.constrained_beam_search(
        tabular.decoder(), logits, prompts, mask, trie,
        num_beams=num_beams, **options,
    )

  found = run(tabular.LOGITS, PROMPTS, MASK)
  return jax.tree.map(np.asarray, found)


def by_listing(items, renormalize=False):
  """Log-probability of every item after every prompt: [B, I]."""
  logits = np.asarray(tabular.LOGITS, np.float64)
  found = np.zeros((len(PROMPTS), len(items)))
  for b, first in enumerate(PROMPTS[:, -1]):
    for i, item in enumerate(items):
      previous = first
      for t, token in enumerate(item):
        row = np.exp(logits[previous])
        if renormalize:
          fits = {x[t] for x in items if x[:t] == item[:t] and len(x) > t}
          row = row * np.isin(np.arange(VOCAB), list(fits))
        found[b, i] += np.log(row[token] / row.sum())
        previous = token
  return found


@pytest.mark.parametrize("renormalize", [False, True])
def test_wide_beams_are_the_exhaustive_best(renormalize):
  """30 items: a beam of 30 forgets nothing."""
  found = search(num_beams=30, renormalize=renormalize)
  exact = by_listing(ITEMS, renormalize)
  best = np.argsort(-exact, axis=1)
  np.testing.assert_array_equal(found.items, best)
  expected = np.take_along_axis(exact, best, 1)
  np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
  np.testing.assert_allclose(np.sum(found.log_probs, -1), expected, rtol=1e-5)
  if renormalize:  # constrained sampling is a distribution over the items
    np.testing.assert_allclose(np.exp(expected).sum(1), 1, rtol=1e-5)


def test_beams_are_distinct_items_of_the_catalogue_in_order():
  found = search()
  assert np.all(found.valid) and np.all(found.mask)
  for row, tokens in zip(found.items, found.tokens):
    assert len(set(row)) == 6
    assert [ITEMS[i] for i in row] == [tuple(x) for x in tokens]
  assert np.all(np.diff(found.scores, axis=1) <= 0)
  items_of = jax.jit(lambda *rows: tries.items_of(TRIE, *rows))
  np.testing.assert_array_equal(
      items_of(found.tokens, found.mask), found.items
  )


def test_sequences_of_unequal_length_compete_as_they_are():
  items = [(0,), (1, 2), (1, 3, 4), (2, 0, 1), (3, 3)]
  trie = tries.prefix_trie(items, vocab_size=VOCAB)
  found = search(trie, num_beams=5, pad_token=9)
  exact = by_listing(items)
  np.testing.assert_array_equal(found.items, np.argsort(-exact, axis=1))
  lengths = np.array([len(items[i]) for i in np.ravel(found.items)])
  np.testing.assert_array_equal(np.sum(found.mask, -1).ravel(), lengths)
  assert np.all(found.tokens[~found.mask] == 9)
  np.testing.assert_array_equal(found.log_probs[~found.mask], 0.0)


def test_beams_without_an_item_are_not_valid():
  trie = tries.prefix_trie([(0, 1), (2, 2)], vocab_size=VOCAB)
  found = search(trie, num_beams=4)
  np.testing.assert_array_equal(found.valid, [[True, True, False, False]] * 3)
  assert np.all(np.isfinite(found.log_probs))
  # Longer items than there is room for are no items.
  cut = search(num_beams=2, max_new_tokens=2)
  assert not np.any(cut.valid)


def test_a_transformer_scores_as_its_full_forward_pass():
  model = transformer.Transformer(
      vocab_size=VOCAB, width=16, num_layers=2, num_heads=2, mlp_width=16
  )
  params = jax.jit(model.init)(jax.random.key(0), PROMPTS, MASK)["params"]
  params = jax.tree.map(lambda x: 3 * np.asarray(x), params)
  mask = MASK.copy()
  mask[0, 0] = False

  @jax.jit
  def find(params, prompts, mask):
    found = beam.constrained_beam_search(
        incremental.decoder(model), params, prompts, mask, TRIE,
        num_beams=4, max_new_tokens=3,
    )
    features = transformer.completion_features(
        model, params, prompts, mask, found.tokens, found.mask
    )
    logits = transformer.logits(model, params, features)
    return found, jax.nn.log_softmax(logits)

  found, log_p = find(params, PROMPTS, mask)
  tokens = np.asarray(found.tokens)[..., None]
  expected = np.take_along_axis(np.asarray(log_p), tokens, -1)[..., 0]
  np.testing.assert_allclose(found.log_probs, expected, atol=1e-4)


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="num_beams must be in"):
    search(num_beams=0)
