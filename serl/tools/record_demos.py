"""Records demonstrations of a task, an episode a file.

  python -m serl.tools.record_demos pick_cube --out=demos --episodes=20
  python -m serl.tools.record_demos pick_cube --out=demos --device=keyboard
  python -m serl.tools.record_demos my_peg.py --robot --out=demos \\
    --device=spacemouse

Episodes that failed are not kept. What success is the task tells; on the real
arm, where its config has no threshold, a person presses the space bar, or Y of
a gamepad: that ends the episode as a success. Ctrl-C ends it; the same command
goes on.
"""

from collections.abc import Mapping, Sequence
import sys

from serl.demos import recording
from serl.environments.franka import tasks as robot_tasks
from serl.environments.wrappers import marked_success
from serl.tools import console


def main(arguments: Sequence[str] | None = None) -> int:
  """Records what `arguments` name and returns the exit code."""
  parser = console.make_parser('record_demos', __doc__)
  parser.add_argument(
    '--episodes',
    type=console.at_least_one,
    default=20,
    help='how many there shall be in the folder, default %(default)s',
  )
  options = parser.parse_args(arguments)

  def record(session: console.Session) -> Mapping[str, int]:
    make_environment = session.make_environment
    if options.robot and robot_tasks.load(options.task).threshold is None:
      make_environment = lambda seed: marked_success.MarkedSuccess(
        session.make_environment(seed), session.marks.was_marked
      )
      print('Space: this is success; it ends the episode')
    kept = recording.record(
      make_environment,
      session.actor,
      options.episodes,
      session.folder,
      session.seed,
      attempts=sys.maxsize if session.marks else None,
      operator=session.operator,
      fault_limit_s=session.fault_limit_s,
    )
    return {'episodes': len(kept)}

  target = {'episodes': options.episodes}
  return console.run(parser, options, target, record, for_policy=True)


if __name__ == '__main__':
  sys.exit(main())
