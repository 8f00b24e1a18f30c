"""What every node's process does first."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

_CRASH = """
import ctypes, pathlib, sys, threading
from serl.programs.distributed import process

def read_camera():
  ctypes.string_at(0)

# Only Launchpad's own worker has one.
process.lp.stop_event = threading.Event
process.prepare(pathlib.Path(sys.argv[1]), 'actor_0')
thread = threading.Thread(target=read_camera)
thread.start()
thread.join()
"""


def test_a_library_that_crashes_is_seen_in_the_nodes_log(tmp_path):
  done = subprocess.run([sys.executable, '-c', _CRASH, tmp_path], check=False)
  assert done.returncode == -signal.SIGSEGV
  log = (tmp_path / 'logs' / 'actor_0.txt').read_text()
  assert 'Segmentation fault' in log and 'in read_camera' in log
