"""Tests of refusals, by errors as they come about."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_server import limits
from serl import core
from serl.agents.sac import config as sac_config
from serl.demos import files
from serl.environments.franka import client
from serl.networks import pretrained
from serl.programs import refusals


def _bad_limits(_):
  limits.Limits(max_speed=-1.0)


@pytest.mark.parametrize(
  'cause',
  [
    lambda path: sac_config.SACConfig(batch_size=0),
    _bad_limits,
    lambda path: files.paths(path / 'absent'),
    lambda path: pretrained.load(str(path / 'absent')),
    lambda path: client.read_token(str(path / 'absent')),
  ],
)
def test_what_is_refused_on_purpose_needs_no_traceback(cause, tmp_path):
  with pytest.raises((ValueError, OSError)) as raised:
    cause(tmp_path)
  assert refusals.is_refusal(raised.value)


def test_a_robot_that_is_not_there_needs_no_traceback():
  assert refusals.is_refusal(core.FaultError('no answer'))


def _in_numpy():
  np.zeros(2) + np.zeros(3)


def _in_jax():
  jax.jit(lambda x: x @ jnp.zeros((3, 3)))(jnp.zeros(2))


def _of_the_user():
  raise ValueError('a network of the user')


def _of_the_users_file():
  pathlib.Path('/absent/file').read_text()


def _of_another_kind():
  raise KeyError('a bug')


@pytest.mark.parametrize(
  'cause',
  [_in_numpy, _in_jax, _of_the_user, _of_the_users_file, _of_another_kind],
)
def test_a_mistake_in_code_keeps_its_traceback(cause):
  with pytest.raises(Exception) as raised:
    cause()
  assert not refusals.is_refusal(raised.value)
