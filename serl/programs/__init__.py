"""Runs: one description, run in one process or as a Launchpad program.

Nothing heavy is imported before it is needed: Launchpad and Reverb only by
`make_program` and `launch`.
"""

from collections.abc import Mapping
import importlib
import types

from serl.utils import environment_variables

# Before JAX, MuJoCo and Matplotlib are imported, which read theirs then.
environment_variables.prepare()

# ruff: noqa: E402
from serl.programs import errors
from serl.programs.config import AlternatingRuns as AlternatingRuns
from serl.programs.config import RunConfig as RunConfig
from serl.programs.config import runs_of as runs_of
from serl.programs.errors import FolderGoneError as FolderGoneError
from serl.programs.errors import Interrupted as Interrupted
from serl.programs.errors import LaunchpadMissingError as LaunchpadMissingError
from serl.programs.errors import NodeDiedError as NodeDiedError


def run_local(config: RunConfig | AlternatingRuns):
  """Runs in this process; see `serl.programs.local`."""
  from serl.programs import local

  _check_online(config)
  return local.run_local(config)


def run_offline(config: RunConfig | AlternatingRuns):
  """Trains from demonstrations alone; see `serl.programs.offline`."""
  from serl.programs import offline

  return offline.run_offline(config)


def evaluate(
  config: RunConfig,
  episodes: int = 20,
  learner_step: int | None = None,
  film: bool = False,
):
  """Evaluates a checkpoint; see `serl.programs.evaluation`."""
  from serl.programs import evaluation

  return evaluation.evaluate(config, episodes, learner_step, film)


def evaluate_in_turns(
  config: AlternatingRuns,
  episodes: int = 20,
  learner_steps: Mapping[str, int] | None = None,
  film: bool = False,
):
  """Evaluates runs that alternate; see `serl.programs.evaluation`."""
  from serl.programs import evaluation

  return evaluation.evaluate_in_turns(config, episodes, learner_steps, film)


def checkpoint_steps(config: RunConfig) -> list[int]:
  """Returns the learner steps of a run's checkpoints."""
  from serl.programs import training

  return training.checkpoint_steps(config)


def measure_interventions(config: RunConfig, picture=None):
  """Measures what a person did; see `serl.programs.interventions`."""
  from serl.programs import interventions

  return interventions.measure(config, picture)


def make_program(config: RunConfig | AlternatingRuns, **placement):
  """Returns the `lp.Program`; see `serl.programs.distributed.program`."""
  _check_online(config)
  program = _distributed('program')
  return program.make_program(config, program.Placement(**placement))


def launch(config: RunConfig | AlternatingRuns, **placement):
  """Launches the program; see `serl.programs.distributed.launcher`.

  Args:
    config: of the run, or of several that alternate.
    **placement: the fields of `distributed.program.Placement`: role, port_base,
      learner_host, key_file, on_accelerator.
  """
  _check_online(config)
  placed = _distributed('program').Placement(**placement)
  environment_variables.check_devices()
  return _distributed('launcher').launch(config, placed)


def _distributed(name: str) -> types.ModuleType:
  """Returns a module of `serl.programs.distributed`.

  Raises:
    LaunchpadMissingError: Launchpad or Reverb cannot be imported.
  """
  try:
    return importlib.import_module(f'serl.programs.distributed.{name}')
  except ImportError as error:
    raise errors.LaunchpadMissingError(error) from error


def _check_online(config: RunConfig | AlternatingRuns) -> None:
  if any(run.offline for run in runs_of(config).values()):
    raise ValueError(
      'Every table of the agent is filled by demonstrations, none by an actor: '
      'train it with programs.run_offline(config).'
    )
