"""What draws is chosen by what loads, with or without a display."""

import os
import subprocess
import sys

import pytest

from serl.environments.sim import opengl


@pytest.mark.parametrize(
  ('present', 'backend'),
  [
    (('libEGL.so.1', 'libGL.so.1', 'libOSMesa.so.8'), 'egl'),
    (('libEGL.so.1', 'libOSMesa.so.8'), 'osmesa'),
  ],
)
def test_chooses_what_loads(monkeypatch, present, backend):
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  monkeypatch.setattr(opengl.sys, 'platform', 'linux')
  monkeypatch.setattr(opengl, 'loads', lambda name: name in present)
  monkeypatch.setattr(opengl, '_egl_works', lambda: True)
  assert opengl.choose_backend() == backend


@pytest.mark.parametrize(
  'where', ['__EGL_VENDOR_LIBRARY_DIRS', 'LIBGL_DRIVERS_PATH']
)
def test_egl_without_a_driver_is_passed_over(where):
  if not opengl.loads('libEGL.so.1'):
    pytest.skip('no EGL')
  code = (
    'from serl.environments.sim import opengl\n'
    'try:\n'
    '  print(opengl.choose_backend())\n'
    'except opengl.RenderingUnavailableError as error:\n'
    '  print(error)\n'
  )
  variables = {**os.environ, where: '/nonexistent'}
  variables.pop('MUJOCO_GL', None)
  done = subprocess.run(
    [sys.executable, '-c', code],
    env=variables,
    capture_output=True,
    text=True,
  )
  has_osmesa = opengl.loads('libOSMesa.so.8')
  expected = 'osmesa' if has_osmesa else "'egl': [\"a driver"
  assert expected in done.stdout, done.stderr


def test_respects_the_variable(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'osmesa')
  assert opengl.choose_backend() == 'osmesa'
  monkeypatch.setenv('MUJOCO_GL', 'vulkan')
  with pytest.raises(ValueError, match="MUJOCO_GL='vulkan'"):
    opengl.choose_backend()


def _set_by(setup: str, **variables: str) -> str:
  """Returns MUJOCO_GL in a new process that prefers to draw headless."""
  kept = {
    name: value
    for name, value in os.environ.items()
    if name not in ('DISPLAY', 'MUJOCO_GL')
  }
  code = (
    f'import os\n{setup}\nfrom serl.environments.sim import opengl\n'
    'opengl.prefer_headless()\nprint(os.environ.get("MUJOCO_GL"))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**kept, **variables},
    capture_output=True,
    text=True,
  )
  assert not done.returncode, done.stderr
  return done.stdout.strip()


@pytest.mark.skipif(sys.platform != 'linux', reason='a display is there')
def test_prefers_what_needs_no_display_only_where_there_is_none():
  try:
    expected = opengl.choose_backend()
  except opengl.RenderingUnavailableError:
    expected = 'None'
  assert _set_by('') == expected
  assert _set_by('', DISPLAY=':0') == 'None'
  assert _set_by('', MUJOCO_GL='osmesa') == 'osmesa'
  # It has chosen already.
  assert _set_by('import mujoco') == 'None'
