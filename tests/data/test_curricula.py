import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data import curricula

ucb_scores = jax.jit(curricula.ucb_scores)
ucb_update = jax.jit(curricula.ucb_update)
ucb_weights = jax.jit(curricula.ucb_weights)


def state_of(means, counts, window=300):
  recent = np.repeat(np.array(means, np.float32)[:, None], window, 1)
  return curricula.UcbState(
      jnp.asarray(recent), jnp.asarray(counts, jnp.int32)
  )


def test_scores_and_weights_by_hand():
  state = state_of([0.5, 0.3, 0.3], [100, 100, 10])
  np.testing.assert_allclose(
      ucb_scores(state), [0.825542, 0.625542, 1.286441], atol=1e-6
  )
  np.testing.assert_allclose(
      ucb_weights(state), [0.00985, 0.001333, 0.988816], atol=1e-6
  )


def test_equal_states_and_new_sources_are_uniform():
  new = curricula.ucb_init(5)
  np.testing.assert_allclose(ucb_weights(new), 0.2, rtol=1e-6)
  equal = state_of([0.4] * 4, [7] * 4)
  np.testing.assert_allclose(ucb_weights(equal), 0.25, rtol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 8])
def test_ring_buffers_hold_exactly_the_last_samples(window):
  """Against lists, in batches that may hold more than a window."""
  rng = np.random.default_rng(0)
  state = curricula.ucb_init(3, window=window)
  seen = [[], [], []]
  for _ in range(12):
    values = rng.random(10).astype(np.float32)
    sources = rng.integers(-1, 4, 10)  # -1 and 3 are no sources
    mask = rng.random(10) < 0.8
    for value, source, valid in zip(values, sources, mask):
      if valid and 0 <= source < 3:
        seen[source].append(value)
    values[~mask] = np.nan
    state = ucb_update(state, *map(jnp.asarray, (values, sources, mask)))
    np.testing.assert_array_equal(state.counts, [len(x) for x in seen])
    for source, all_seen in enumerate(seen):
      kept = np.asarray(state.recent[source])[: len(all_seen)]
      assert sorted(kept) == sorted(all_seen[-window:])
    bonus = np.sqrt(
        2 * np.log(sum(map(len, seen)) + 1)
        / (np.array(list(map(len, seen))) + 1)
    )
    expected = [np.mean(x[-window:]) if x else 0 for x in seen] + bonus
    np.testing.assert_allclose(
        ucb_scores(state), expected, rtol=1e-5
    )


def test_state_continues_where_it_was_saved():
  """As arrays through NumPy, like a checkpoint."""
  state = curricula.ucb_init(2, window=4)
  values, sources = jnp.arange(6.0), jnp.array([0, 1, 0, 0, 0, 0])
  state = ucb_update(state, values, sources)
  again = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), state)
  go_on = lambda s: ucb_update(s, values * 2, sources)
  jax.tree.map(np.testing.assert_array_equal, go_on(state), go_on(again))


def test_sources_are_drawn_by_their_weights():
  weights = jnp.array([0.2, 0.0, 0.8])
  drawn = curricula.draw_sources(jax.random.key(0), weights, 20_000)
  shares = np.bincount(drawn, minlength=3) / 20_000
  np.testing.assert_allclose(shares, weights, atol=0.012)
  assert shares[1] == 0


def test_neglected_sources_come_back():
  """Solved and hopeless sets have no magnitude; the bonus keeps them alive."""

  def draw(state, _):
    source = jnp.argmax(curricula.ucb_scores(state))[None]
    value = jnp.array([0.3, 0.0, 0.0])[source]
    return curricula.ucb_update(state, value, source), None

  run = jax.jit(lambda state: jax.lax.scan(draw, state, length=200)[0])
  state = run(curricula.ucb_init(3, window=10))
  assert np.all(state.counts > 20) and np.argmax(state.counts) == 0


def test_stages_by_step():
  stages = [int(curricula.stage_at(t, (3, 7))) for t in (0, 2, 3, 6, 7, 99)]
  assert stages == [0, 0, 1, 1, 2, 2]
  assert int(jax.jit(lambda t: curricula.stage_at(t, (3, 7)))(5)) == 1
  assert int(curricula.stage_at(5, ())) == 0
  with pytest.raises(ValueError, match="boundaries must rise"):
    curricula.stage_at(0, (3, 3))


def walk(accuracies, **options):
  options = dict(num_stages=3, threshold=0.6, decay=0.5) | options
  update = jax.jit(lambda s, a: curricula.stage_update(s, a, **options))
  state, stages = curricula.stage_init(), []
  for accuracy in accuracies:
    state = update(state, jnp.asarray(accuracy, jnp.float32))
    stages.append(int(state.stage))
  return stages, state


def test_stages_by_merit():
  # .4; .6 after .4 and .8: left. Then .5, .75: left. The last one stays.
  stages, state = walk([0.4, 0.8, 0.5, 1.0, 1.0, 1.0])
  assert stages == [0, 1, 1, 2, 2, 2]
  assert int(state.steps) == 2
  # An average does not outlive its stage.
  assert walk([1.0, 0.1])[0] == [1, 1]


def test_stages_last_as_long_as_they_must_and_no_longer():
  assert walk([1.0] * 6, min_steps=2)[0] == [0, 1, 1, 2, 2, 2]
  assert walk([0.0] * 6, max_steps=2)[0] == [0, 1, 1, 2, 2, 2]
  stages, state = walk([0.5, np.nan, np.nan])
  assert stages == [0, 0, 0]
  np.testing.assert_allclose(state.average, 0.5)
  assert int(state.steps) == 3


def test_stage_weights_are_rows():
  table = jnp.array([[1.0, 0, 0], [1, 3, 0], [0, 0, 0]])
  weights = jax.jit(curricula.stage_weights)
  np.testing.assert_allclose(weights(jnp.array(1), table), [0.25, 0.75, 0])
  np.testing.assert_array_equal(weights(jnp.array(9), table), 0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: curricula.ucb_init(0), "num_sources must be in"),
        (
            lambda: curricula.ucb_weights(curricula.ucb_init(2), temperature=0),
            "temperature must be in",
        ),
        (
            lambda: curricula.stage_update(
                curricula.stage_init(),
                jnp.zeros(()),
                num_stages=2,
                threshold=0.5,
                decay=1.5,
            ),
            "decay must be in",
        ),
    ],
)
def test_errors_name_the_argument(call, message):
  with pytest.raises(ValueError, match=message):
    call()
