import signal
import threading

import pytest

from rewardjax.training.preemption import StopFlag


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_flag_and_nothing_else(number):
  before = signal.getsignal(number)
  with StopFlag() as stop:
    assert not stop()
    signal.raise_signal(number)
    assert stop() and stop.reason == number.name
  assert signal.getsignal(number) == before


@pytest.fixture
def interruptible():
  """What Python does by itself, unless a shell started it in the background."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_is_one_and_a_second_sigterm_is_not(interruptible):
  with StopFlag() as stop:
    # To this thread: sent to the process, two may arrive as one.
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert stop()
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_other_threads_get_a_flag_without_handlers():
  before, seen = signal.getsignal(signal.SIGTERM), []

  def run():
    with StopFlag() as stop:
      seen.append(signal.getsignal(signal.SIGTERM) == before)
      stop.set("the budget")
      seen.append(stop() and stop.reason)

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert seen == [True, "the budget"]
