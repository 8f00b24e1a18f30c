"""What the twin's wrist cameras see."""

import numpy as np
import pytest

from serl.environments.sim import insertion
from serl.environments.sim import opengl
from serl.environments.sim import wrist_cameras


@pytest.fixture(name='scene', scope='module')
def make_scene():
  try:
    opengl.choose_backend()
  except opengl.RenderingUnavailableError as error:
    pytest.skip(str(error))
  scene = insertion.Insertion()
  pose = scene.target
  pose[2] += 0.06
  scene.twin.command_pose(pose)
  scene.twin.clock.sleep_until(3.0)
  return scene


def leads(image, colour):
  """Returns where one colour, 0 to 2, leads the others, [H, W]."""
  others = np.delete(image.astype(int), colour, axis=-1).max(axis=-1)
  return image[..., colour] > others + 40


@pytest.mark.parametrize('name', wrist_cameras.NAMES)
def test_it_sees_the_peg_and_the_board(scene, name):
  camera = wrist_cameras.WristCamera(scene.twin, name, 64, 64)
  frame = camera.read()
  assert frame.image.shape == (64, 64, 3) and frame.image.dtype == np.uint8
  assert frame.time == scene.twin.now()
  assert leads(frame.image, 0).mean() > 0.02  # the red peg
  assert leads(frame.image, 1).mean() > 0.10  # the green board
  # The peg is between the fingers, in the middle.
  columns = np.nonzero(leads(frame.image, 0))[1]
  assert abs(columns.mean() - 31.5) < 4
  camera.close()


def test_the_two_see_different_sides(scene):
  cameras = [
    wrist_cameras.WristCamera(scene.twin, name, 64, 64)
    for name in wrist_cameras.NAMES
  ]
  images = [camera.read().image.astype(int) for camera in cameras]
  assert np.abs(images[0] - images[1]).mean() > 1.0
  for camera in cameras:
    camera.close()


def test_a_square_picture_is_the_crop_of_a_wide_one(scene):
  wide = wrist_cameras.WristCamera(scene.twin, 'wrist_1', 48, 64)
  square = wrist_cameras.WristCamera(scene.twin, 'wrist_1', 48, 48)
  difference = wide.read().image[:, 8:56].astype(int) - square.read().image
  assert np.abs(difference).mean() < 1.0
  wide.close()
  square.close()


def test_it_can_be_read_after_it_was_closed(scene):
  camera = wrist_cameras.WristCamera(scene.twin, 'wrist_1', 32, 32)
  first = camera.read().image
  camera.close()
  np.testing.assert_array_equal(camera.read().image, first)
  camera.close()


def test_refuses_an_unknown_camera(scene):
  with pytest.raises(ValueError, match="Unknown camera 'wrist_3'; expected"):
    wrist_cameras.WristCamera(scene.twin, 'wrist_3')
