import json
import os
import platform
import subprocess
import sys
import time

import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import code, sandbox

QUICK = sandbox.Limits(cpu_s=1, wall_s=5.0, memory_mb=256, output_kb=64)


def judge(said, reference, **options):
  """One verdict; the reference may be a function's cases, or a script's."""
  (verdict,) = code.run_python(
      [""], [said], [json.dumps(reference)], limits=QUICK, **options
  )
  return verdict


def function(*cases):
  cases = [{"args": list(x), "output": y} for *x, y in cases]
  return {"function": "f", "cases": cases}


SCRIPT = {
    "cases": [
        {"input": "1 2\n", "output": "3\n"},
        {"input": "40 2", "output": "42"},
    ]
}
ADDS = "def f(x, y):\n  return x + y\n"
RIGHT = Verdict(1.0, Status.CORRECT)


def assert_wrong(verdict, detail):
  assert (verdict.score, verdict.status) == (0.0, Status.WRONG), verdict
  assert detail in verdict.detail, verdict


def test_scripts_read_standard_input():
  said = "Here it is:\n```python\nprint(sum(map(int, input().split())))\n```"
  assert judge(said, SCRIPT) == RIGHT
  assert_wrong(judge("print(3)", SCRIPT), "case 1: another output")
  assert_wrong(judge("print(3)\n1/0", SCRIPT), "case 0: exit status 1")
  assert judge("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split()"
               ")))\nsys.exit(0)", SCRIPT) == RIGHT


def test_functions_are_called_with_arguments():
  cases = function((1, 2, 3), ("a", "b", "ab"), ([1], [2], [1, 2]))
  assert judge(ADDS + "print('noise')", cases) == RIGHT
  assert_wrong(judge(ADDS, function((1, 2, 3), (1, 2, 4))), "case 1: another")
  assert_wrong(judge("f = 1", cases), "case 0: TypeError")
  assert_wrong(judge("def g(): pass", cases), "case 0: KeyError: 'f'")
  assert_wrong(judge("def f(x, y): return {x}", cases), "not JSON")
  assert_wrong(judge("def f(:", cases), "case 0: SyntaxError")


@pytest.mark.parametrize(
    ("returned", "expected", "equal"),
    [
        ("(1, [2.0])", [1, [2]], True),
        ("True", 1, False),
        ("1", True, False),
        ("'1'", 1, False),
        ("{1: 2}", {"1": 2}, True),
        ("{'a': 1, 'b': 2}", {"a": 1}, False),
        ("[1]", [1, 2], False),
        ("float('nan')", 0.0, False),
        ("10 ** 400", 1.0, False),
        ("0.1 + 0.2", 0.3, False),
        ("None", None, True),
        ("'\\ud800'", "\ud800", True),
    ],
)
def test_values_are_compared_as_json(returned, expected, equal):
  verdict = judge(f"def f():\n  return {returned}", function((expected,)))
  assert (verdict.status is Status.CORRECT) == equal, verdict


def test_tolerance_is_for_floats():
  close = function((0.3,))
  said = "def f(): return 0.1 + 0.2"
  assert judge(said, close, relative_tolerance=1e-9) == RIGHT
  assert_wrong(judge("def f(): return 11", function((10,)),
                     relative_tolerance=0.5), "another value")


def test_no_program_is_unparsable_and_the_last_block_counts():
  for said in ("", "\n", "```python\n```", "```python\nx = 1", "``` x\n\n```"):
    verdict = judge(said, SCRIPT)
    assert (verdict.score, verdict.status) == (None, Status.UNPARSABLE)
  assert code.read_program("```\na\n```\nor\n```py\nb\n```\ndone") == "\nb\n"
  assert code.read_program("print(1)") == "print(1)"


@pytest.mark.parametrize(
    "reference",
    ["", "{}", "[]", '{"cases": []}', '{"cases": [{"input": "1"}]}']
    + ['{"cases": [{"input": 1, "output": "1"}]}', "[" * 10_000]
    + ['{"cases": [{"input": "1", "output": 1}]}']
    + ['{"function": "f", "cases": [{"args": 1, "output": 1}]}'],
)
def test_a_broken_reference_is_no_fault_of_the_completion(reference):
  (verdict,) = code.run_python([""], ["print(1)"], [reference])
  assert (verdict.score, verdict.status) == (None, Status.CRASHED)


def test_ending_before_the_check_is_no_pass():
  """The outputs are compared outside: there is no assertion to skip."""
  cases = function((1, 2, 3), (2, 2, 4))
  for early in ("import sys; sys.exit(0)", "import os; os._exit(0)"):
    assert_wrong(judge(f"{ADDS}\n{early}", cases), "case 0")
    assert_wrong(judge(early, SCRIPT), "case 0: another output")
  later = "import os\ndef f(x, y):\n  return x + y if x == 1 else os._exit(0)"
  assert_wrong(judge(later, cases), "case 1: it ended")
  raising = "def f(x, y):\n  raise SystemExit(0)"
  assert_wrong(judge(raising, cases), "case 0: SystemExit")


def test_forged_reports_say_no_more_than_wrong_values():
  """Whatever it writes where values go, it does not know the right ones."""
  for line in ('{"value": true}', "correct", '{"refused": "no"}', "[" * 9999):
    forged = (
        "import os\nfor i in range(3, 64):\n  try: os.write(i, "
        f"{line!r}.encode() + b'\\n')\n  except OSError: pass\nos._exit(0)"
    )
    assert_wrong(judge(forged, function((1, 2, 3))), "case 0")


def found_in_sandbox(*expressions):
  """What each expression does in the sandbox: its value, or an error."""
  source = (
      "import asyncio, ctypes, glob, os, resource, shutil, socket, subprocess\n"
      "import sys, tempfile, threading\n"
      "def f(expression):\n"
      "  try: return repr(eval(expression))\n"
      "  except OSError as error: return type(error).__name__\n"
      "  except ValueError as error: return 'ValueError'\n"
  )
  arguments = [[expression] for expression in expressions]
  outcome = sandbox.run(source, function="f", arguments=arguments)
  assert (outcome.exceeded, outcome.status, outcome.weak) == (None, 0, None)
  lines = outcome.output.splitlines()
  return dict(zip(expressions, [json.loads(x).get("value") for x in lines]))


def assert_denied(found):
  # OSError: a link across folders.
  denied = ("PermissionError", "OSError")
  assert not {x: y for x, y in found.items() if y not in denied}


def test_no_file_outside_is_written_or_changed(tmp_path):
  """Pain 25 (tunix c80286a9): what a model wrote must not touch the disk."""
  path = tmp_path / "file"
  path.write_text("kept")
  before = path.stat()
  there = repr(str(path))
  assert_denied(
      found_in_sandbox(
          f"open({there}, 'w')",
          f"open({there}, 'a')",
          f"os.open({there}, os.O_RDONLY | os.O_TRUNC)",
          f"os.open({str(tmp_path / 'new')!r}, os.O_WRONLY | os.O_CREAT)",
          f"os.truncate({there}, 0)",
          f"os.remove({there})",
          f"os.rename({there}, {there} + '2')",
          f"os.link({there}, 'here')",
          f"os.symlink({there}, 'here')",
          f"os.chmod({there}, 0)",
          f"os.chown({there}, 1, 1)",
          f"os.utime({there})",
          f"os.setxattr({there}, 'user.a', b'b')",
          f"os.mkdir({str(tmp_path / 'folder')!r})",
          "os.mkdir('folder')",
          "open('/dev/shm/file', 'w')",
          "os.memfd_create('file')",
      )
  )
  assert list(tmp_path.iterdir()) == [path] and path.read_text() == "kept"
  after = path.stat()
  assert (after.st_mode, after.st_mtime_ns) == (
      before.st_mode,
      before.st_mtime_ns,
  )


def test_only_the_library_and_what_is_listed_is_read(tmp_path):
  (tmp_path / "helper.py").write_text("VALUE = 7")
  assert_denied(
      found_in_sandbox(
          f"open({os.path.abspath(__file__)!r})",
          f"os.listdir({str(tmp_path)!r})",
          "open('/etc/passwd')",
          "open(f'/proc/{os.getppid()}/cmdline')",
          "open('/proc/self/environ')",
      )
  )
  said = "import helper, decimal\ndef f(): return helper.VALUE"
  assert_wrong(judge(said, function((7,))), "No module named 'helper'")
  assert judge(said, function((7,)), readable=[str(tmp_path)]) == RIGHT


def test_no_network_and_no_other_process():
  assert_denied(
      found_in_sandbox(
          "socket.socket()",
          "socket.socket(socket.AF_UNIX)",
          "socket.create_connection(('127.0.0.1', 1))",
          "os.fork()",
          "subprocess.run(['true'])",
          "os.execv('/bin/true', ['true'])",
          "os.kill(os.getppid(), 0)",
          "os.kill(os.getpid(), 9)",
          "os.setpriority(os.PRIO_USER, 0, 5)",
          "os.unshare(0)" if hasattr(os, "unshare") else "os.fork()",
      )
  )
  # Limits do not rise again, and C functions are no way around.
  calls = (
      "resource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
      "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (99, 99))",
      "ctypes.CDLL(None).fork()",
      "ctypes.CDLL(None).socket(2, 1, 0)",
      "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)",
      "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)",
      "ctypes.CDLL(None).syscall(425, 8, 0)",
      "os.system('true')",
  )
  found = found_in_sandbox(*calls)
  # 32512: the shell was not started.
  expected = ["ValueError", "PermissionError"] + ["-1"] * 5 + ["32512"]
  assert list(found.values()) == expected


def test_root_is_nobody_inside():
  """capget of the process itself: effective, permitted, inheritable."""
  look = (
      "(lambda x: (ctypes.CDLL(None).capget(b'\\x22\\x05\\x08\\x20' + "
      "bytes(4), x), x.raw == bytes(24)))(ctypes.create_string_buffer(24, 24))"
  )
  assert list(found_in_sandbox(look).values()) == ["(0, True)"]


def test_it_ends_with_its_parent():
  """A pool kills a late worker, whose program is in another group."""
  program = (
      "from rewardjax.rewards.verifiers import sandbox\n"
      "sandbox.run('import time; time.sleep(60)')\n"
  )
  parent = subprocess.Popen([sys.executable, "-c", program])
  children = lambda: _ps("--ppid", str(parent.pid))
  assert _soon(lambda: bool(children()))
  (child,) = children()
  parent.kill()
  parent.wait()
  assert _soon(lambda: not _ps("-p", child))


def _ps(*options):
  done = subprocess.run(
      ["ps", "-o", "pid=", *options], capture_output=True, text=True
  )
  return done.stdout.split()


def _soon(condition):
  for _ in range(200):
    if condition():
      return True
    time.sleep(0.05)
  return False


def test_a_useful_program_has_what_it_needs():
  found = found_in_sandbox(
      "open('a', 'w').write('b')",
      "tempfile.TemporaryFile().write(b'bc')",
      "glob.glob('*')",
      "open(os.devnull, 'w').write('b')",
      "threading.Thread(target=print).start()",
      "asyncio.run(asyncio.sleep(0, 4))",
      "sorted(os.environ)[:2]",
      "len(os.urandom(5))",
      "os.getcwd() == os.environ['HOME']",
      "[x for x in range(5, 20) if os.path.exists(f'/proc/self/fd/{x}')]",
  )
  # Of the files that are open, 3 and 4 are where its values go.
  expected = ["1", "2", "['a']", "1", "None", "4", "['HOME', 'LC_ALL']", "5"]
  assert list(found.values())[:8] == expected
  assert list(found.values())[8:] == ["True", "[]"]


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("while True: pass", "exceeded cpu_s"),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
         "while True: pass", "exceeded cpu_s"),
        ("x = bytearray(10 << 30)", "exit status 1"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", ""),
        ("while True: print('x' * 10_000)", "exceeded output_kb"),
        ("import os\nwhile True: os.fork()", "exit status 1"),
        ("import threading, time\nwhile True:\n"
         "  threading.Thread(target=time.sleep, args=(1,)).start()",
         "exit status 1"),
        ("for i in range(9 ** 9): open(f'{i}', 'wb').write(bytes(1 << 20))",
         "exceeded scratch_mb"),
        ("for i in range(9 ** 9): open(f'{i}', 'wb')", "exceeded"),
        ("open('a', 'wb').write(bytes(64 << 20))", "exit status"),
        ("def f(x): f([x])\nimport sys\nsys.setrecursionlimit(10 ** 9)\nf(1)",
         ""),
        ("import os\nos.abort()", "exit status -"),
        ("x = '\0'", "exit status 1"),
        ("x = '\ud800'", "exit status 1"),
        ("(" * 100_000, "exit status"),
    ],
)  # fmt: skip
def test_what_takes_too_much_is_wrong(said, detail):
  assert_wrong(judge(said, SCRIPT), detail)


def test_waiting_is_a_time_out_and_leaves_nothing():
  number = f"1{os.getpid()}.5"
  patient = sandbox.Limits(wall_s=1)
  for said in (f"import time; time.sleep({number})", "import os, time\n"
               "os.close(1); os.setsid() if os.getpid() != os.getsid(0) else 0"
               "\ntime.sleep(99)"):
    outcome = sandbox.run(said, limits=patient)
    assert (outcome.exceeded, outcome.status) == ("wall_s", -9)
  (verdict,) = code.run_python(
      [""], ["import time; time.sleep(99)"], [json.dumps(SCRIPT)],
      limits=patient,
  )
  assert (verdict.score, verdict.status) == (None, Status.TIMEOUT)


def test_without_a_jail_nothing_runs_unless_asked(monkeypatch, tmp_path):
  """On a machine of another kind; the child asks for its own name."""
  path = tmp_path / "file"
  fake = tmp_path / "jail.py"
  fake.write_text("def lock(**unused):\n  raise RuntimeError('no Landlock')")
  monkeypatch.setattr(sandbox, "_JAIL", fake)
  with pytest.raises(RuntimeError, match="no Landlock. allow_weak_sandbox"):
    judge(f"open({str(path)!r}, 'w')", SCRIPT)
  weak = dict(allow_weak_sandbox=True)
  assert judge("print(sum(map(int, input().split())))", SCRIPT, **weak) == RIGHT
  for accident in (
      f"open({str(path)!r}, 'w')",
      "import socket; socket.socket().connect(('127.0.0.1', 1))",
      "import os; os.fork()",
      "import subprocess; subprocess.run(['true'])",
      "import shutil; shutil.rmtree('.')",
  ):
    assert_wrong(judge(accident, SCRIPT, **weak), "exit status 1")
  assert judge(f"open('a', 'w')\n{ADDS}", function((1, 2, 3)), **weak) == RIGHT
  assert sandbox.run("", **weak).weak == "no Landlock"
  assert not path.exists()


def test_another_machine_has_no_jail(monkeypatch):
  from rewardjax.rewards.verifiers import jail

  monkeypatch.setattr(platform, "machine", lambda: "riscv64")
  with pytest.raises(jail.Unavailable, match="on riscv64: it needs Linux on"):
    jail.lock()


def test_errors_name_the_argument(monkeypatch):
  with pytest.raises(ValueError, match="run_python: .*'references': 0"):
    code.run_python([""], ["1"], [])
  with pytest.raises(ValueError, match="relative_tolerance must be in"):
    code.run_python([], [], [], relative_tolerance=-1.0)
  with pytest.raises(ValueError, match="sandbox.run: cpu_s must be in"):
    sandbox.run("", limits=sandbox.Limits(cpu_s=0))
  monkeypatch.setattr(sandbox, "_PROGRAM", "/no/such/file")
  with pytest.raises(RuntimeError, match="no interpreter started: exit stat"):
    sandbox.run("")
