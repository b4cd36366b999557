import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data import traces

KEY = jax.random.key(0)


def all_inputs(base, length):
  return np.array(list(itertools.product(range(base), repeat=length)))


def run_all(program, inputs):
  run = jax.jit(jax.vmap(lambda x: traces.run(program, x)))
  return jax.device_get(run(jnp.asarray(inputs)))


def run_one(program, *inputs):
  return jax.tree.map(lambda x: x[0], run_all(program, [inputs]))


def test_affine_by_hand():
  states = run_one(traces.affine(5, 4), 3, 1, 4, 2).states
  # 3, 2*3+1=7, 2*2+4=8, 2*3+2=8, mod 5.
  np.testing.assert_array_equal(states[:, 0], [3, 2, 3, 3])


def test_selection_by_hand():
  states = run_one(traces.selection_sort(9, 4), 3, 8, 1, 2)
  expected = [[1, 8, 3, 2], [1, 2, 3, 8], [1, 2, 3, 8]]
  np.testing.assert_array_equal(states.states, expected)


def test_product_by_hand():
  done = run_one(traces.product(10, 3), 4, 7, 6)
  # 47 * 6 = 282, from its end: 42, then 24 + 4.
  np.testing.assert_array_equal(done.states, [[2, 4, 0], [2, 8, 2]])
  np.testing.assert_array_equal(done.answer, [2, 8, 2])


ANSWERS = {
    "running_sum": lambda x, base: int(x.sum()),
    "product": lambda x, base: int(
        np.dot(x[:-1], base ** np.arange(len(x) - 2, -1, -1)) * x[-1]
    ),
    "median": lambda x, base: int(np.sort(x)[(len(x) - 1) // 2]),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("length", [3, 4])
def test_answers_are_right_for_every_input(name, length):
  base = 4
  inputs = all_inputs(base, length)
  answers = run_all(getattr(traces, name)(base, length), inputs).answer
  value = answers @ base ** np.arange(answers.shape[1] - 1, -1, -1)
  expected = [ANSWERS[name](x, base) for x in inputs]
  np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("length", [2, 4])
def test_sort_sorts_every_input(length):
  inputs = all_inputs(4, length)
  done = run_all(traces.selection_sort(4, length), inputs)
  np.testing.assert_array_equal(done.answer, np.sort(inputs, axis=1))
  # `before` is the state that each step started from.
  np.testing.assert_array_equal(done.before[:, 0], inputs)
  np.testing.assert_array_equal(done.before[:, 1:], done.states[:, :-1])


def test_dynamic_noise_has_the_closed_form():
  """m = 5, L = 5, intensity .2: the answer right .4621, all clean .4182."""
  base, length, nu, n = 5, 5, 0.2, 40_000
  program = traces.affine(base, length)
  inputs = jnp.array([3, 1, 4, 2, 0])
  clean = run_one(program, 3, 1, 4, 2, 0)

  @jax.jit
  def run(key):
    one = lambda key: traces.run(program, inputs, key, intensity=nu)
    return jax.vmap(one)(jax.random.split(key, n))

  noisy = jax.device_get(run(KEY))
  right = np.mean(noisy.answer == clean.answer[None])
  all_clean = np.mean(np.all(noisy.states == clean.states[None], axis=(1, 2)))
  closed = 1 / base + (1 - 1 / base) * (1 - nu) ** length
  np.testing.assert_allclose(closed, 0.4621, atol=5e-5)
  np.testing.assert_allclose(right, closed, atol=0.01)  # four sigma
  closed = (1 - nu * (base - 1) / base) ** length
  np.testing.assert_allclose(closed, 0.4182, atol=5e-5)
  np.testing.assert_allclose(all_clean, closed, atol=0.01)
  np.testing.assert_allclose(np.mean(noisy.replaced), nu, atol=0.005)


def test_dynamic_noise_is_inherited_and_locally_consistent():
  """Every line is what the step makes of the line before, unless redrawn."""
  program = traces.affine(7, 30)
  inputs = jax.random.randint(KEY, (30,), 0, 7)

  @jax.jit
  def run(key):
    noisy = traces.run(program, inputs, key, intensity=0.3)
    step = jax.vmap(lambda s, t: program.step(s, inputs, t))
    return noisy, step(noisy.before, jnp.arange(30))

  noisy, expected = jax.device_get(run(KEY))
  same = noisy.states == expected
  assert np.all(same | noisy.replaced)
  assert 0 < np.sum(noisy.replaced) < 30 and not np.all(same)


def test_intensity_at_its_ends():
  symbols = np.arange(1000) % 5
  draw = lambda nu: jax.device_get(
      jax.jit(
          lambda x: traces.replace_symbols(KEY, x, base=5, intensity=nu)
      )(symbols)
  )
  np.testing.assert_array_equal(draw(0.0)[0], symbols)
  new, hit = draw(1.0)
  assert np.all(hit)
  # Uniform over all symbols: a fifth stays as it was.
  assert 140 < np.sum(new == symbols) < 260
  mask = jnp.asarray(np.arange(10) != 3)
  kept = traces.delete_symbols(KEY, mask, intensity=0.0)
  np.testing.assert_array_equal(kept, mask)
  assert not np.any(traces.delete_symbols(KEY, mask, intensity=1.0))


def test_swapped_lines_are_a_permutation():
  np.testing.assert_array_equal(
      traces.swap_lines(KEY, 4, intensity=0.0), [0, 1, 2, 3]
  )
  np.testing.assert_array_equal(
      traces.swap_lines(KEY, 4, intensity=1.0), [1, 2, 3, 0]
  )
  order = traces.swap_lines(KEY, 9, intensity=0.5)
  np.testing.assert_array_equal(np.sort(order), np.arange(9))
  np.testing.assert_array_equal(traces.swap_lines(KEY, 1, intensity=1.0), [0])


def test_jit_and_vmap_give_the_same_run():
  program = traces.running_sum(4, 5)
  inputs = jax.random.randint(KEY, (6, 5), 0, 4)
  keys = jax.random.split(KEY, 6)
  one = lambda x, key: traces.run(program, x, key, intensity=0.4)
  mapped = jax.device_get(jax.jit(jax.vmap(one))(inputs, keys))
  for i in (0, 5):
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.tree.map(lambda x, i=i: x[i], mapped),
        one(inputs[i], keys[i]),
    )


def test_errors_name_the_argument():
  program, inputs = traces.affine(5, 2), jnp.array([1, 2])
  with pytest.raises(ValueError, match="run: intensity must be in"):
    traces.run(program, inputs, KEY, intensity=1.5)
  with pytest.raises(ValueError, match="intensity 0.5 needs a key"):
    traces.run(program, inputs, intensity=0.5)
  with pytest.raises(ValueError, match="product: length must be in"):
    traces.product(5, 1)
