"""Records demonstrations of a task, an episode a file.

  python -m serl.tools.record_demos pick_cube --out=demos --episodes=20
  python -m serl.tools.record_demos pick_cube --out=demos --device=keyboard
  python -m serl.tools.record_demos my_peg.py --robot --out=demos \\
    --device=spacemouse

Episodes that failed are not kept. Ctrl-C ends it; the same command goes on.
"""

from collections.abc import Mapping, Sequence
import sys

from serl.demos import recording
from serl.tools import console


def main(arguments: Sequence[str] | None = None) -> int:
  """Records what `arguments` name and returns the exit code."""
  parser = console.make_parser('record_demos', __doc__)
  parser.add_argument(
    '--episodes',
    type=int,
    default=20,
    help='how many there shall be in the folder, default %(default)s',
  )
  options = parser.parse_args(arguments)

  def record(session: console.Session) -> Mapping[str, int]:
    kept = recording.record(
      session.make_environment,
      session.actor,
      options.episodes,
      session.folder,
      session.seed,
      attempts=sys.maxsize if session.person else None,
      operator=session.operator,
    )
    return {'episodes': len(kept)}

  return console.run(parser, options, {'episodes': options.episodes}, record)


if __name__ == '__main__':
  sys.exit(main())
