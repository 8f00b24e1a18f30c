"""Records transitions into success, and others, for a reward classifier.

  python -m serl.tools.record_transitions pick_cube_vision --out=transitions
  python -m serl.tools.record_transitions my_peg.py --robot --out=transitions \\
    --device=spacemouse

The simulation tells what success is where the expert acts; a person holds the
space bar, or Y of a gamepad, while there is success. Whole episodes are kept, a
file each, with the labels as the column 'success' of their extras. Ctrl-C ends
it; the same command goes on.
"""

from collections.abc import Mapping, Sequence
import sys

from serl.demos import transitions
from serl.tools import console


def main(arguments: Sequence[str] | None = None) -> int:
  """Records what `arguments` name and returns the exit code."""
  parser = console.make_parser('record_transitions', __doc__)
  for name, count in (('successes', 200), ('failures', 1000)):
    parser.add_argument(
      f'--{name}',
      type=console.at_least_none,
      default=count,
      help='how many there shall be at least, default %(default)s',
    )
  options = parser.parse_args(arguments)
  target = transitions.Counts(options.successes, options.failures)

  def record(session: console.Session) -> Mapping[str, int]:
    label = None
    if session.marks:
      label = session.marks.is_marked
      print('Space, held down: what is seen is success')
    counts = transitions.record(
      session.make_environment,
      session.actor,
      target,
      session.folder,
      session.seed,
      label,
      patience=None if session.marks else 20,
      operator=session.operator,
      fault_limit_s=session.fault_limit_s,
    )
    return counts._asdict()

  return console.run(parser, options, target._asdict(), record)


if __name__ == '__main__':
  sys.exit(main())
