"""Runs: one description, run in one process or as a Launchpad program.

Nothing heavy is imported before it is needed: Launchpad and Reverb only by
`make_program` and `launch`.
"""

from serl.programs.config import RunConfig as RunConfig
from serl.programs.errors import Interrupted as Interrupted
from serl.programs.errors import NodeDiedError as NodeDiedError


def run_local(config: RunConfig):
  """Runs in this process; see `serl.programs.local`."""
  from serl.programs import local

  return local.run_local(config)


def make_program(config: RunConfig, **placement):
  """Returns the `lp.Program`; see `serl.programs.distributed.program`."""
  from serl.programs.distributed import program

  return program.make_program(config, program.Placement(**placement))


def launch(config: RunConfig, **placement):
  """Launches the program; see `serl.programs.distributed.launcher`.

  Args:
    config: of the run.
    **placement: the fields of `distributed.program.Placement`: role, port_base,
      learner_host.
  """
  from serl.programs.distributed import launcher
  from serl.programs.distributed import program

  return launcher.launch(config, program.Placement(**placement))
