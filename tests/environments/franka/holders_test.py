"""Tests for holders."""

import os

import pytest

from serl.environments.franka import holders
from tests.environments.franka import holding


def test_a_process_that_has_a_file_open_is_found(tmp_path):
  path, other = tmp_path / 'video0', tmp_path / 'video1'
  path.touch()
  other.touch()
  link = tmp_path / 'by_name'
  link.symlink_to(path)
  with holding.process(path) as held:
    for name in (path, link):
      (found,) = holders.find([str(name)]).processes
      assert found.startswith(f'process {held.pid} (')
      assert 'python' in found
    assert not holders.find([str(other)]).processes
  assert not holders.find([str(path)]).processes


def test_this_process_is_no_other(tmp_path):
  with open(tmp_path / 'video0', 'w') as file:
    assert not holders.find([file.name]).processes


def test_what_could_not_be_looked_into_is_counted():
  root = os.geteuid() == 0
  if root:
    os.seteuid(65534)
  try:
    found = holders.find(['/dev/video-none'])
  finally:
    if root:
      os.seteuid(0)
  if root:
    assert found.hidden
  told = found._replace(hidden=3).describe()
  assert 'not found to have /dev/video-none open; 3 processes of other' in told
  assert 'sudo fuser -v /dev/video-none' in told
  assert 'files in /dev are not known' in holders.find([]).describe()


@pytest.fixture
def camera(tmp_path, monkeypatch):
  """The folder of a camera's USB device in sysfs."""
  monkeypatch.setattr(holders, '_SYSFS', str(tmp_path))
  folder = tmp_path / 'devices/pci0000:00/usb2/2-1/2-1.4'
  for video in ('2-1.4:1.0/video4linux/video0', '2-1.4:1.3/video4linux/video2'):
    (folder / video).mkdir(parents=True)
  for name, text in (
    ('busnum', '2'),
    ('devnum', '7'),
    ('idVendor', '8086'),
    ('product', 'Intel(R) RealSense(TM) Depth Camera 405'),
  ):
    (folder / name).write_text(f'{text}\n')
  (tmp_path / 'bus/usb/devices').mkdir(parents=True)
  (tmp_path / 'bus/usb/devices/2-1.4').symlink_to(folder)
  return folder


_FILES = ('/dev/bus/usb/002/007', '/dev/video0', '/dev/video2')


def test_a_camera_has_the_files_of_its_usb_device(camera):
  assert holders.files_of_usb('2-1.4-7') == _FILES
  video = camera / '2-1.4:1.0/video4linux/video0'
  assert holders.files_of_usb(str(video)) == _FILES
  assert holders.files_of_usb('2-9-1') == ()
  assert holders.files_of_usb('') == ()


def test_all_realsenses_are_found(camera):
  assert holders.files_of_realsenses() == _FILES
  (camera / 'product').write_text('Bluetooth')
  assert holders.files_of_realsenses() == ()
