import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.policies import laws, log_probs, turns
from rewardjax.policies.decoding import Decoder
from rewardjax.policies.laws import SamplingLaw
from tests.policies import tabular
from tests.policies.tabular import LOGITS, VOCAB

# A counter: tokens 1 and 3 add 1; what is seen is how much is missing, and
# that nobody has spoken. It ends at 0.
COUNTER = turns.Responder(
    step=lambda key, state, token: state - (token % 2),
    observe=lambda state: jnp.stack([state, jnp.full_like(state, 4)]),
    is_done=lambda state: state <= 0,
)
PROMPTS = jnp.array([[0, 4], [3, 4], [1, 2]])
PROMPT_MASK = jnp.array([[False, True], [True, True], [True, True]])
STATES = jnp.array([2, 1, 0])
K = 4


def decoder():
  """The bigram model, reading several tokens at once."""
  plain = tabular.decoder()
  step = lambda params, tokens, cache: (
      params[tokens[:, -1]], cache + tokens.shape[1]
  )
  return Decoder(plain.prefill, plain.repeat, step)


def play(rows=slice(None), law=laws.PLAIN, **options):
  sample = jax.jit(
      lambda key, params: turns.sample(
          key, decoder(), params, PROMPTS[rows], PROMPT_MASK[rows],
          STATES[rows], COUNTER, num_samples=8, num_turns=K, law=law,
          **options,
      )
  )  # fmt: skip
  return jax.tree.map(np.asarray, sample(jax.random.key(0), LOGITS))


def by_hand(start, actions):
  """Tokens of an episode that takes these actions, and whether it ended."""
  said, left = [], start
  for action in actions:
    if left <= 0:
      break
    left -= action % 2
    said += [action, left, 4]
  return said, left <= 0


def test_actions_and_answers_take_turns():
  made = play(pad_token=3)
  assert made.tokens.shape == (3, 8, 3 * K)
  for b, start in enumerate(STATES.tolist()):
    for g in range(8):
      tokens, own, real = (x[b, g] for x in (made.tokens, made.mask, made.real))
      said, ended = by_hand(start, tokens[::3].tolist())
      assert tokens[real].tolist() == said
      np.testing.assert_array_equal(own, real & (np.arange(3 * K) % 3 == 0))
      assert np.all(tokens[~real] == 3) and made.truncated[b, g] != ended
  assert 0 < np.mean(made.truncated[:2]) < 1
  # Over before it began: there is nothing to learn from.
  assert not np.any(made.real[2]) and not np.any(made.truncated[2])
  np.testing.assert_array_equal(made.read, made.real)


@pytest.mark.parametrize("law", [SamplingLaw(0.6, 3), SamplingLaw(0)])
def test_recorded_log_probs_are_the_scorers(law):
  made = play(law=law)
  shape = (*made.tokens.shape[:2], 1)
  first = np.broadcast_to(np.asarray(PROMPTS)[:, None, -1:], shape)
  before = np.concatenate([first, made.tokens[..., :-1]], axis=-1)
  said = jnp.asarray(made.tokens), jnp.asarray(made.mask)
  scores = jax.jit(
      lambda x, table: log_probs.score_features(x, table, *said, law=law)
  )(np.eye(VOCAB, dtype=np.float32)[before], LOGITS.T)
  np.testing.assert_allclose(scores.log_probs, made.log_probs, atol=1e-6)
  np.testing.assert_array_equal(made.log_probs[~made.mask], 0.0)


def test_draws_do_not_depend_on_the_batch():
  made = play()
  alone = play(slice(1, 2), prompt_ids=jnp.array([1]))
  for name in ("tokens", "mask", "log_probs"):
    found, expected = getattr(alone, name)[0], getattr(made, name)[1]
    np.testing.assert_array_equal(found, expected)


def test_no_turn_is_an_error():
  with pytest.raises(ValueError, match="num_turns must be in .* got 0"):
    turns.sample(
        jax.random.key(0), decoder(), LOGITS, PROMPTS, PROMPT_MASK, STATES,
        COUNTER, num_samples=1, num_turns=0,
    )  # fmt: skip
