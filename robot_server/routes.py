"""Every route: what it takes, what it does, what it answers.

The routes below 'SERL' are those of SERL's own server, by name, method, body
and answer. The application and its description are both made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Dict, NamedTuple

from scipy.spatial import transform

from robot_server import governor as governor_lib
from robot_server import lease as lease_lib
from robot_server import protocol

Schema = Dict[str, Any]  # JSON Schema
Body = Dict[str, Any]
Handler = Callable[[governor_lib.Governor, Body, lease_lib.Caller], Any]


class Route(NamedTuple):
  """A route. Without `body` it takes none; without `answer` it answers text."""

  path: str
  summary: str
  run: Handler
  body: Schema | None = None
  answer: Schema | None = None
  method: str = 'POST'
  stops: bool = False  # the arm: done for anybody, however late


def _numbers(length: int) -> Schema:
  return {
    'type': 'array',
    'items': {'type': 'number'},
    'minItems': length,
    'maxItems': length,
  }


def _object(required: Mapping[str, Schema], closed: bool = False) -> Schema:
  schema = {
    'type': 'object',
    'properties': dict(required),
    'required': list(required),
  }
  return {**schema, 'additionalProperties': False} if closed else schema


_NUMBER = {'type': 'number'}
_STATE = {
  'pose': _numbers(7),
  'vel': _numbers(6),
  'force': _numbers(3),
  'torque': _numbers(3),
  'q': _numbers(7),
  'dq': _numbers(7),
  'jacobian': {
    'type': 'array',
    'items': _numbers(7),
    'minItems': 6,
    'maxItems': 6,
  },
  'gripper_pos': _NUMBER,
}
_STEP = {
  **_STATE,
  'mode': {'enum': list(protocol.MODES)},
  'faults': {'type': 'array', 'items': {'type': 'string'}},
  'time': _NUMBER,
  'age': _NUMBER,
  'sent': _numbers(7),
  'limited_by': {'type': 'array', 'items': {'type': 'string'}},
}
_HEALTH = {
  'ok': {'type': 'boolean'},
  'driver': {'type': 'string'},
  'controller': {'type': 'string'},
  'mode': {'enum': [None, *protocol.MODES]},
  'faults': {'type': 'array', 'items': {'type': 'string'}},
  'state_age': {'type': ['number', 'null']},
  'now': {'type': 'number'},
  'held': {'type': 'boolean'},
  'recoveries_left': {'type': 'integer'},
  'last_error': {'type': 'string'},
  'last_commands': {'type': 'array', 'items': {'type': 'object'}},
  'state': {'anyOf': [{'type': 'null'}, _object(_STATE)]},
}
_POSE = _object({'arr': _numbers(7)}, closed=True)
_GRIPPER = _object(
  {
    'gripper_pos': {
      'type': 'number',
      'minimum': protocol.GRIPPER_RANGE[0],
      'maximum': protocol.GRIPPER_RANGE[1],
    }
  },
  closed=True,
)
_COMPLIANCE = {
  'type': 'object',
  'properties': {
    name: {'type': 'number', 'minimum': limits.low, 'maximum': limits.high}
    for name, limits in protocol.COMPLIANCE.items()
  },
  'additionalProperties': False,
}


def _arm_part(name: str) -> Callable[..., Any]:
  """Returns what answers a part of the arm's reading."""
  return lambda governor, *_: {
    name: getattr(governor.read_arm(), name).tolist()
  }


def _part(name: str, answers: str = '') -> Callable[..., Any]:
  """Returns what answers one part of the state, under a name of its own."""
  return lambda governor, *_: {
    answers or name: governor.read_state().to_json()[name]
  }


def _euler_pose(governor: governor_lib.Governor, *_: Any) -> Any:
  pose = governor.read_arm().pose
  euler = transform.Rotation.from_quat(pose[3:]).as_euler('xyz')
  return {'pose': [*pose[:3].tolist(), *euler.tolist()]}


def _move(
  governor: governor_lib.Governor, body: Body, caller: lease_lib.Caller
) -> str:
  limited_by = governor.command(body['arr'], caller).limited_by
  return f'Moved, limited by {", ".join(limited_by)}' if limited_by else 'Moved'


def _step(
  governor: governor_lib.Governor, body: Body, caller: lease_lib.Caller
) -> Any:
  sent = governor.command(body['arr'], caller)
  state = governor.read_state()
  return {
    **state.to_json(),
    'mode': state.mode,
    'faults': list(state.faults),
    'time': state.time,
    'age': governor.age_of(state),
    'sent': sent.pose.tolist(),
    'limited_by': list(sent.limited_by),
  }


def _move_gripper(
  governor: governor_lib.Governor, body: Body, caller: lease_lib.Caller
) -> str:
  governor.move_gripper(body['gripper_pos'], caller)
  return 'Moved Gripper'


def _update_param(
  governor: governor_lib.Governor, body: Body, caller: lease_lib.Caller
) -> str:
  governor.set_compliance(body, caller)
  return 'Updated compliance parameters'


def _does(name: str, text: str, *args: str) -> Handler:
  """Returns what calls a method of the governor and answers `text`."""

  def run(
    governor: governor_lib.Governor, _: Body, caller: lease_lib.Caller
  ) -> str:
    getattr(governor, name)(*args, caller=caller)
    return text

  return run


_SERL = (
  Route('/pose', 'Command a pose: xyz (m) and quaternion xyzw.', _move, _POSE),
  Route(
    '/getpos',
    'The pose: xyz (m) and quaternion xyzw.',
    _arm_part('pose'),
    answer=_object({'pose': _numbers(7)}),
  ),
  Route(
    '/getpos_euler',
    'The pose: xyz (m) and extrinsic Euler angles xyz (rad).',
    _euler_pose,
    answer=_object({'pose': _numbers(6)}),
  ),
  Route(
    '/getvel',
    'Linear (m/s) and angular (rad/s) velocity.',
    _part('vel'),
    answer=_object({'vel': _numbers(6)}),
  ),
  Route(
    '/getforce',
    'The external force (N).',
    _arm_part('force'),
    answer=_object({'force': _numbers(3)}),
  ),
  Route(
    '/gettorque',
    'The external torque (N m).',
    _arm_part('torque'),
    answer=_object({'torque': _numbers(3)}),
  ),
  Route(
    '/getq',
    'The joint angles (rad).',
    _part('q'),
    answer=_object({'q': _numbers(7)}),
  ),
  Route(
    '/getdq',
    'The joint speeds (rad/s).',
    _part('dq'),
    answer=_object({'dq': _numbers(7)}),
  ),
  Route(
    '/getjacobian',
    'The Jacobian of the tool.',
    _part('jacobian'),
    answer=_object({'jacobian': _STATE['jacobian']}),
  ),
  Route(
    '/getstate',
    'All of the above and the gripper.',
    lambda governor, *_: governor.read_state().to_json(),
    answer=_object(_STATE),
  ),
  Route(
    '/get_gripper',
    "The gripper's position, in its own unit.",
    _part('gripper_pos', answers='gripper'),
    answer=_object({'gripper': _NUMBER}),
  ),
  Route(
    '/move_gripper',
    'Move the gripper, from 0 (open) to 255 (closed).',
    _move_gripper,
    _GRIPPER,
  ),
  Route(
    '/open_gripper',
    'Open the gripper.',
    _does('command_gripper', 'Opened', 'open'),
  ),
  Route(
    '/close_gripper',
    'Close the gripper.',
    _does('command_gripper', 'Closed', 'close'),
  ),
  Route(
    '/activate_gripper',
    'Make the gripper ready.',
    _does('command_gripper', 'Activated', 'activate'),
  ),
  Route(
    '/reset_gripper',
    'Clear the faults of the gripper and make it ready.',
    _does('reset_gripper', 'Reset'),
  ),
  Route(
    '/startimp',
    'Start the impedance controller.',
    _does('start_impedance', 'Started impedance'),
  ),
  Route(
    '/stopimp',
    'Stop the controller, a joint reset too.',
    _does('stop_impedance', 'Stopped impedance'),
    stops=True,
  ),
  Route(
    '/jointreset',
    'Move the joints to their reset target; answers when there.',
    _does('reset_joints', 'Reset Joint'),
  ),
  Route('/clearerr', 'Recover from a reflex.', _does('clear_errors', 'Clear')),
  Route(
    '/update_param',
    'Change compliance parameters.',
    _update_param,
    _COMPLIANCE,
  ),
)

ROUTES = (
  *_SERL,
  Route(
    '/step',
    'Command a pose as /pose does and answer the newest state: "sent" is what '
    'was commanded within the limits that "limited_by" names; "time" (s) is '
    "on the arm's clock.",
    _step,
    _POSE,
    _object(_STEP),
  ),
  Route(
    '/hold',
    'Emergency: hold the arm where it is and refuse all commands.',
    _does('hold', 'Held'),
    stops=True,
  ),
  Route(
    '/release',
    'Take commands again and forgive the recoveries so far.',
    _does('release', 'Released'),
  ),
  Route(
    '/health',
    'How the arm and its controller are; status 503 if it cannot obey now.',
    lambda governor, *_: governor.status(),
    answer=_object(_HEALTH),
    method='GET',
  ),
)
