"""Launches a run's program and stays with it to the end."""

from collections.abc import Collection, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import io
import pathlib
import signal
import sys
import time

from absl import flags
from absl import logging
import launchpad as lp
from launchpad.launch.run_locally import launch_local_output_to_files
from launchpad.nodes.python import local_multi_processing
from rich import columns as rich_columns
from rich import console as rich_console
from rich import live

from serl.programs import acting
from serl.programs import config as config_lib
from serl.programs import errors
from serl.programs import interrupt
from serl.programs import report
from serl.programs import run_folder
from serl.programs.distributed import process
from serl.programs.distributed import program as program_lib
from serl.programs.distributed import service
from serl.programs.distributed import supervisor as supervisor_lib
from serl.programs.distributed import table
from serl.programs.distributed import variables
from serl.teleop import keyboard
from serl.utils import loggers

_POLL_S = 0.2
_LINE_S = 10.0  # between two lines, where there is no terminal


def launch(
  config: config_lib.RunConfig | config_lib.AlternatingRuns,
  placement: program_lib.Placement = program_lib.HERE,
) -> report.Summary | dict[str, report.Summary] | None:
  """Launches a run or several and returns when no process is left.

  Args:
    config: of the run or runs; a folder that holds it already is resumed.
    placement: which nodes run here.

  Returns:
    What came of the run, or of the runs by their tasks; None for the part
    of an actor or evaluator.

  Raises:
    ValueError: nothing is to be evaluated where only that is asked for.
    AnotherRunError: the folder is another run's.
    KeyFileError: an actor or evaluator has no key of the learner.
    NodeDiedError: a node failed; the others were ended.
    FolderGoneError: the run's folder was deleted meanwhile.
    Interrupted: by Ctrl-C or SIGTERM, after a last checkpoint unless the
      learner had to be killed, which is said.
    OSError: a port is taken, or the folder cannot be written.
  """
  runs = config_lib.runs_of(config)
  placement.check_ports(len(runs))
  nodes = program_lib.make_nodes(config, placement.role)
  if placement.role in ('all', 'actor'):
    first = next(iter(runs.values()))
    for index in range(first.num_actors):
      acting.check_page(first, index)
  console = rich_console.Console()
  runs = {task: _claim(run, task, console) for task, run in runs.items()}
  if isinstance(config, config_lib.AlternatingRuns):
    config = dataclasses.replace(config, runs=runs)
  else:
    (config,) = runs.values()
  now = time.time()
  elapsed = max(loggers.last_elapsed(run.folder) for run in runs.values())
  clock = process.Clock(now, now - elapsed)
  for node in nodes.values():
    process.clear_status(*node)
  # An actor that is killed cannot give back the terminal of the person's keys.
  with (
    run_folder.used(config.folder, placement.role),
    keyboard.keeping_terminal(),
    _start(
      # Here: a launch that is refused leaves the key of the one that runs.
      program_lib.make_program(config, placement, clock),
      config.folder,
      nodes,
      console,
      placement.on_accelerator,
    ).handle_signals() as supervisor,
  ):
    try:
      _watch(supervisor, runs, nodes, console)
      _stop(supervisor, console)
    except errors.NodeDiedError as failure:
      _check_folders(runs)  # the reason, where one is gone
      raise supervisor.stop_after_failure(failure) from None
    finally:
      # Whatever went wrong here, no node is left behind.
      supervisor.kill()
  if supervisor.interrupted:
    raise errors.Interrupted(
      f'Stopped. The same command goes on with {config.folder}.'
    )
  if placement.role in ('actor', 'evaluator'):
    told = [process.read_status(*node).text for node in nodes.values()]
    limit = next((text for text in told if text.startswith('the limit')), '')
    console.print(
      f'Ended: {limit}.' if limit else 'The learner says that the run is over.'
    )
    return None
  reasons = {
    task: process.read_status(run.folder, service.LEARNER).text
    for task, run in runs.items()
  }
  summaries = {}
  for task, run in runs.items():
    # The first that is over ends the others.
    reason = reasons[task] or next(filter(None, reasons.values()), '')
    summaries[task] = report.make_report(
      run, run.make_spec(), reason, clock.launched
    )
  return summaries.get('', summaries)


def _stop(
  supervisor: supervisor_lib.Supervisor, console: rich_console.Console
) -> None:
  """Ends the nodes of a run that is over; says which had to be killed.

  That may be an actor in a long reset, whose arm its server holds, or a learner
  that compiles: nothing has failed by it.
  """
  try:
    supervisor.stop()
  except errors.NodeLateError as late:
    console.print(str(late))


def _claim(
  config: config_lib.RunConfig, task: str, console: rich_console.Console
) -> config_lib.RunConfig:
  """Makes a run's folder, or checks it; returns the run with its spec."""
  spec = config.make_spec()
  config = dataclasses.replace(config, environment_spec=spec)
  resumed = run_folder.claim(config, spec, task)
  console.print(f'{"Resuming" if resumed else "Starting"} {config.folder}')
  return config


def _start(
  program: lp.Program,
  folder: pathlib.Path,
  nodes: Mapping[str, program_lib.Node],
  console: rich_console.Console,
  on_accelerator: Collection[str],
) -> supervisor_lib.Supervisor:
  if not flags.FLAGS.is_parsed():
    # Launchpad reads its flags; a caller in code has parsed none.
    flags.FLAGS(sys.argv[:1])
  folder = folder / 'logs'
  folder.mkdir(parents=True, exist_ok=True)
  # What a node prints before it has its own log file, which goes on over
  # launches, where Launchpad's is written anew. It reads its variable for the
  # folder when it is imported, so there is only this way to set it.
  launch_local_output_to_files._LOGGING_DIR = str(folder / 'starts')
  names = [node.name for node in nodes.values()]
  with contextlib.redirect_stdout(io.StringIO()), _keeping_signals():
    manager = lp.launch(
      program,
      launch_type='local_mp',
      terminal='output_to_files',
      local_resources={
        label: local_multi_processing.PythonProcess(
          env=variables.of_node(node.name, on_accelerator, names)
        )
        for label, node in nodes.items()
      },
    )
  for line in program_lib.listeners(program):
    console.print(line, soft_wrap=True)
  return supervisor_lib.Supervisor(nodes, manager)


@contextlib.contextmanager
def _keeping_signals() -> Iterator[None]:
  """Takes back the handlers of signals that Launchpad sets for good.

  After the nodes' end, while the report is made, they would count down from
  10 s and then kill this process.
  """
  numbers = (signal.SIGALRM, *interrupt.SIGNALS)
  before = {number: signal.getsignal(number) for number in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _watch(
  supervisor: supervisor_lib.Supervisor,
  runs: Mapping[str, config_lib.RunConfig],
  nodes: Mapping[str, program_lib.Node],
  console: rich_console.Console,
) -> None:
  """Shows how it goes until the run is over or the user stops it."""
  progress = [
    table.Progress(run, _nodes_of(run.folder, nodes)) for run in runs.values()
  ]
  printed = time.monotonic()
  shown = (
    live.Live(
      get_renderable=lambda: rich_columns.Columns(p.render() for p in progress),
      console=console,
    )
    if console.is_terminal
    else contextlib.nullcontext()
  )
  with shown:
    while not supervisor.interrupted:
      # A learner's end is the run's; where there is none, that of the actors.
      ended = [nodes[label].name for label in supervisor.poll()]
      if service.LEARNER in ended or not supervisor.alive:
        break
      _check_folders(runs)
      _poll(progress, console)
      if not console.is_terminal and time.monotonic() - printed >= _LINE_S:
        printed = time.monotonic()
        for part in progress:
          console.print(part.line(), soft_wrap=True, markup=False)
      time.sleep(_POLL_S)
    _poll(progress, console)
  if supervisor.interrupted:
    logging.info('Stopping.')


def _check_folders(runs: Mapping[str, config_lib.RunConfig]) -> None:
  """Raises FolderGoneError where a run's folder is no longer there."""
  for run in runs.values():
    if not run_folder.is_run(run.folder):
      raise errors.FolderGoneError(
        f'{run.folder} was deleted or moved while the run went on, so nothing '
        'more can be kept: the run ends. Put the folder back and start the '
        'same command again, or begin a new run.'
      )


def _poll(
  progress: Sequence[table.Progress], console: rich_console.Console
) -> None:
  for part in progress:
    for damage in part.poll():
      console.print(f'DAMAGED: {damage}', soft_wrap=True, markup=False)


def _nodes_of(
  folder: pathlib.Path, nodes: Mapping[str, program_lib.Node]
) -> list[program_lib.Node]:
  """Returns a run's nodes, and those that it shares with others."""
  learners = [n.folder for n in nodes.values() if n.name == service.LEARNER]
  return [
    node
    for node in nodes.values()
    if node.folder == folder or node.folder not in learners
  ]
