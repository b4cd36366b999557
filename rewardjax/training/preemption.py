"""Turns SIGTERM and SIGINT into a flag that a loop reads between steps."""

import signal
import threading


class StopFlag:
  """True once somebody asked the run to stop; a context manager.

      with StopFlag() as stop:
        result = loop.run_loop(..., stop=stop)

  A second Ctrl-C raises KeyboardInterrupt at once; further SIGTERMs, which
  schedulers repeat, do not disturb the saving. Handlers are installed only in
  the main thread, where Python allows it, and put back at the end.
  """

  def __init__(self, signals=(signal.SIGTERM, signal.SIGINT)):
    self._signals = signals
    self._before = {}
    self.reason = None

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      for number in self._signals:
        self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before.clear()

  def __call__(self) -> bool:
    """Whether to stop."""
    return self.reason is not None

  def set(self, reason: str = "request") -> None:
    """Asks for a stop without a signal."""
    self.reason = reason

  def _handle(self, number, frame):
    del frame
    self.set(signal.Signals(number).name)
    if number == signal.SIGINT:
      signal.signal(number, self._before.pop(number))
