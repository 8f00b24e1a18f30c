"""What the tests of launched runs have in common."""

import signal

import pytest


@pytest.fixture(autouse=True, scope='session')
def handle_hangups():
  """Undoes what nohup does to the tests, and so to the runs they launch."""
  before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
  yield
  signal.signal(signal.SIGHUP, before)
