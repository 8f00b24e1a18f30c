"""Trains a reward classifier of images; writes it and the report on it."""

import dataclasses
import pathlib
import sys

from absl import app
from absl import flags

from serl import programs
from serl.agents import classifier
from serl.agents.classifier import report as report_lib
from serl.agents.classifier import training
from serl.demos import files
from serl.demos import recording
from serl.demos import transitions
from serl.environments.sim import tasks
from serl.teleop import scripted

_PRESET = flags.DEFINE_enum(
  'preset', 'cpu', ['cpu', 'serl'], 'For a few cores, or for an accelerator.'
)
_DATA = flags.DEFINE_string('data', None, 'Folder of labelled episodes.')
_SUCCESS = flags.DEFINE_string(
  'success', None, "Successes alone: a folder, or a pickle of SERL's."
)
_FAILURE = flags.DEFINE_string('failure', None, 'Failures alone, likewise.')
_OUTPUT = flags.DEFINE_string('output', 'runs/classifier', 'Folder to write.')
_CAMERAS = flags.DEFINE_list('cameras', None, 'Those to look at; all if unset.')
_WEIGHTS = flags.DEFINE_string(
  'weights', None, "File of SERL's ResNet-10: train on its frozen features."
)
_STEPS = flags.DEFINE_integer('steps', 1000, 'Updates.')
_RATE = flags.DEFINE_float('false-positive-rate', 0.01, 'Of the threshold.')
_RECORD = flags.DEFINE_integer('record', 200, 'Episodes to make, lacking data.')
_SIZE = flags.DEFINE_integer('image-size', 64, 'Of those episodes, pixels.')
_POOR = flags.DEFINE_bool('accept-poor', False, 'Save also what only guesses.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the split and of the training.')

# Noise and miss, m. A policy succeeds and fails in more ways than one script.
_SCRIPTS = ((0.05, 0.0), (0.2, 0.0), (0.3, 0.05), (1.0, 0.0), (3.0, 0.1))
_HEIGHTS = (0.05, 0.35)  # m, of lifts that do not suffice and that do


def record(folder: pathlib.Path) -> pathlib.Path:
  """Records scripts that lift the cube and that fail in several ways."""
  first = _SEED.value + 1000 * len(files.find(folder))  # other than those held
  for part, (noise, miss) in enumerate(_SCRIPTS, 1):
    made = tasks.make('pick_cube_vision', first + part, image_size=_SIZE.value)
    actor = scripted.PickCubeExpert(noise, first + part, made, miss, _HEIGHTS)
    total = _RECORD.value * part // len(_SCRIPTS)
    recording.record(lambda _, e=made: e, actor, total, folder, keep=bool)
  return folder


def train(output: pathlib.Path) -> None:
  episodes = recording.load(_DATA.value) if _DATA.value else []
  for path, success in ((_SUCCESS.value, True), (_FAILURE.value, False)):
    episodes += transitions.load(path, success) if path else []
  episodes = episodes or recording.load(record(output / 'episodes'))
  cameras = tuple(_CAMERAS.value) if _CAMERAS.value else None
  config = getattr(classifier, _PRESET.value)(cameras, _WEIGHTS.value)
  config = dataclasses.replace(
    config, training_steps=_STEPS.value, false_positive_rate=_RATE.value
  )
  trained, report = training.train(config, episodes, _SEED.value)
  print(*report_lib.write(report, output), sep='\n')
  classifier.save(output / 'classifier.safetensors', trained, _POOR.value)


def main(_):
  programs.environment_variables.check_devices()
  try:
    train(pathlib.Path(_OUTPUT.value))
  except (ValueError, OSError) as error:
    sys.exit(str(error))


if __name__ == '__main__':
  app.run(main)
