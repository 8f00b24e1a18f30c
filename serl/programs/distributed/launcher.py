"""Launches a run's program and stays with it to the end."""

import contextlib
import dataclasses
import io
import os
import sys
import time

from absl import flags
from absl import logging
import launchpad as lp
from launchpad.launch.run_locally import launch_local_output_to_files
from launchpad.nodes.python import local_multi_processing
from rich import console as rich_console
from rich import live

from serl.programs import config as config_lib
from serl.programs import distributed
from serl.programs import errors
from serl.programs import report
from serl.programs import run_folder
from serl.programs.distributed import learner
from serl.programs.distributed import process
from serl.programs.distributed import program as program_lib
from serl.programs.distributed import supervisor as supervisor_lib
from serl.programs.distributed import table
from serl.utils import loggers

_POLL_S = 0.2
_LINE_S = 10.0  # between two lines, where there is no terminal


def launch(
  config: config_lib.RunConfig,
  placement: program_lib.Placement = program_lib.HERE,
) -> report.Summary | None:
  """Launches the run and returns when it is over and no process is left.

  Args:
    config: of the run; a folder that holds it already is resumed.
    placement: which nodes run here.

  Returns:
    What came of the run; None for the actor's part of it.

  Raises:
    AnotherRunError: the folder is another run's.
    NodeDiedError: a node failed; the others were ended.
    Interrupted: by Ctrl-C or SIGTERM, after a last checkpoint.
    OSError: a port is taken, or the folder cannot be written.
  """
  placement.check_ports()
  spec = config.make_spec()
  config = dataclasses.replace(config, environment_spec=spec)
  resumed = run_folder.claim(config, spec)
  console = rich_console.Console()
  console.print(f'{"Resuming" if resumed else "Starting"} {config.folder}')
  now = time.time()
  clock = process.Clock(now, now - loggers.last_elapsed(config.folder))
  program = program_lib.make_program(config, placement, clock)
  nodes = list(program.groups)
  for name in nodes:
    process.clear_status(config.folder, name)
  supervisor = _start(program, config, nodes)
  with supervisor.handle_signals():
    try:
      _watch(supervisor, config, nodes, console)
      supervisor.stop()
    except errors.NodeDiedError as failure:
      raise supervisor.stop_after_failure(failure) from None
    finally:
      # Whatever went wrong here, no node is left behind.
      supervisor.kill()
  if supervisor.interrupted:
    raise errors.Interrupted(
      f'Stopped. The same command goes on with {config.folder}.'
    )
  if placement.role == 'actor':
    console.print('The learner says that the run is over.')
    return None
  reason = process.read_status(config.folder, learner.NAME).text
  return report.make_report(config, spec, reason)


def _start(
  program: lp.Program, config: config_lib.RunConfig, nodes: list[str]
) -> supervisor_lib.Supervisor:
  if not flags.FLAGS.is_parsed():
    # Launchpad reads its flags; a caller in code has parsed none.
    flags.FLAGS(sys.argv[:1])
  folder = config.folder / 'logs'
  folder.mkdir(parents=True, exist_ok=True)
  # What a node prints before it has its own log file, which goes on over
  # launches, where Launchpad's is written anew. It reads its variable for the
  # folder when it is imported, so there is only this way to set it.
  launch_local_output_to_files._LOGGING_DIR = str(folder / 'starts')
  with contextlib.redirect_stdout(io.StringIO()):
    manager = lp.launch(
      program,
      launch_type='local_mp',
      terminal='output_to_files',
      local_resources={name: _resources(name) for name in nodes},
    )
  return supervisor_lib.Supervisor(config.folder, manager)


def _resources(name: str) -> local_multi_processing.PythonProcess:
  environment = {'TF_CPP_MIN_LOG_LEVEL': '2'}
  if name != learner.NAME:
    # The accelerator is the learner's; one thread is plenty for one
    # observation and leaves the cores to it.
    environment['JAX_PLATFORMS'] = 'cpu'
    environment['OPENBLAS_NUM_THREADS'] = '1'
    environment['XLA_FLAGS'] = (
      '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
    )
  if distributed.LIBRARY_FOLDER:
    paths = [distributed.LIBRARY_FOLDER, os.environ.get('LD_LIBRARY_PATH', '')]
    environment['LD_LIBRARY_PATH'] = ':'.join(filter(None, paths))
  return local_multi_processing.PythonProcess(env=environment)


def _watch(
  supervisor: supervisor_lib.Supervisor,
  config: config_lib.RunConfig,
  nodes: list[str],
  console: rich_console.Console,
) -> None:
  """Shows how it goes until the run is over or the user stops it."""
  progress = table.Progress(config, nodes)
  printed = time.monotonic()
  shown = (
    live.Live(get_renderable=progress.render, console=console)
    if console.is_terminal
    else contextlib.nullcontext()
  )
  with shown:
    while not supervisor.interrupted:
      # The learner's end is the run's; where it is not, that of the actors.
      if learner.NAME in supervisor.poll() or not supervisor.alive:
        break
      progress.poll()
      if not console.is_terminal and time.monotonic() - printed >= _LINE_S:
        printed = time.monotonic()
        console.print(progress.line(), soft_wrap=True)
      time.sleep(_POLL_S)
    progress.poll()
  if supervisor.interrupted:
    logging.info('Stopping.')
