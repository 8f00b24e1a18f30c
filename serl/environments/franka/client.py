"""The arm behind its server, over HTTP."""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import socket
import time
from typing import Any
import uuid

import numpy as np
import urllib3

from robot_server import protocol
from serl import configs
from serl.environments.franka import robot

# s: until a connection stands, and until an answer comes that a roslaunch or a
# motion precedes.
_CONNECT_S = 0.5
_PATIENT_S = 60.0
# The most by which an estimate of the server's clock may be corrected, s.
_SLACK_S = 1.0
_MAX_HOST = 40  # characters of a host's name
# Where the mistake is on this side, so that to try again is of no use.
_MISTAKES = (400, 401, 403, 404, 405, 413, 415)
_READ_AGAIN = urllib3.Retry(total=1, status=0, redirect=0, other=0)


class RequestError(ValueError):
  """The server refused a request that will never be right."""


def read_token(path: str | os.PathLike | None) -> str | None:
  """Returns the token in a file; None without one.

  Raises:
    OSError: it cannot be read.
  """
  return None if path is None else pathlib.Path(path).read_text().strip()


def process_name() -> str:
  """Returns the name by which the server knows this process from others."""
  return f'{socket.gethostname()[:_MAX_HOST]}:{os.getpid()}'


class HttpRobot:
  """A `robot.Robot` over one connection that is kept alive.

  What only reads is asked once more when the connection broke; a command is
  not, since it may have arrived.

  One client leads the arm at a time: while another one commands it, commands
  raise a RobotError with the server's word 'led'.
  """

  def __init__(
    self,
    url: str,
    token: str | None = None,
    now: Callable[[], float] = time.monotonic,
    patience: float = 0.3,
    name: str | None = None,
  ):
    """Initialises the client; it connects with the first request.

    Args:
      url: of the server, 'http://HOST:PORT/'.
      token: that the server demands.
      now: the environment's clock, s.
      patience: until an answer comes that nothing precedes, s of real time.
      name: of the client, by default one of its own. Robots with one name may
        take turns, as those of a process do that has several tasks.

    Raises:
      ValueError: the address is none.
    """
    configs.check_value('url', url, configs.Url)
    self._url = url
    self._now = now
    self._patience = patience
    # Of the server's clock, s. None until it is known.
    self._ahead: float | None = None
    self._sent = -np.inf  # when the last command was, s, on that clock
    self._headers = {
      'Content-Type': 'application/json',
      protocol.CLIENT: name or f'{process_name()}/{uuid.uuid4().hex[:8]}',
    }
    if token is not None:
      self._headers['Authorization'] = f'Bearer {token}'
    self._pool = urllib3.connection_from_url(url, maxsize=1, block=True)

  def health(self) -> Mapping[str, Any]:
    """Returns the server's account of the arm, also of one that cannot obey."""
    return self._request('GET', 'health', accepted=(200, 503))

  def read_state(self) -> protocol.State:
    asked = self._now()
    health = self.health()
    answered = self._now()
    self._ahead = _ahead(asked, answered, health['now'], self._sent)
    if health['mode'] is not None:
      robot.demand_able(health['mode'], health['faults'])
    if health['held']:
      raise robot.RobotError(
        f'Somebody holds the arm; POST {self._url}release to go on.'
      )
    if not health['ok']:
      raise robot.RobotError(
        f'The arm cannot obey now; its server says: {health["controller"]}'
      )
    state = health['state']
    return protocol.State(
      **{name: np.array(state[name], float) for name in _ARRAYS},
      gripper_pos=state['gripper_pos'],
      # It was measured that long before something between these two.
      time=(asked + answered) / 2 - health['state_age'],
      mode=health['mode'],
      faults=tuple(health['faults']),
    )

  def command_pose(self, pose: Sequence[float]) -> None:
    self._post('pose', {'arr': [float(x) for x in pose]})

  def open_gripper(self) -> None:
    self._post('open_gripper')

  def close_gripper(self) -> None:
    self._post('close_gripper')

  def set_compliance(self, parameters: Mapping[str, float]) -> None:
    self._post('update_param', dict(parameters), timeout=_PATIENT_S)

  def recover(self) -> None:
    mode = self.health()['mode']
    if mode in protocol.STOPPED:
      self._post('clearerr')
    if mode in (None, 'idle'):
      self._post('startimp', timeout=_PATIENT_S)

  def clear_errors(self) -> None:
    self._post('clearerr')

  def reset_joints(self) -> None:
    self._post('jointreset', timeout=_PATIENT_S)

  def close(self) -> None:
    self._pool.close()

  def _post(
    self,
    route: str,
    body: Mapping[str, Any] | None = None,
    timeout: float | None = None,
  ) -> Any:
    return self._request('POST', route, body, timeout)

  def _request(
    self,
    method: str,
    route: str,
    body: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    accepted: Sequence[int] = (200,),
  ) -> Any:
    """Returns the answer, parsed if it is JSON.

    Raises:
      RobotError: there is none, or the arm cannot now.
      RequestError: the request itself is wrong.
    """
    headers = self._headers
    if method == 'POST' and self._ahead is not None:
      # The network may deliver it when nobody means it any more.
      self._sent = self._now() + self._ahead
      headers = {**headers, protocol.SENT: f'{self._sent:.6f}'}
    try:
      response = self._pool.request(
        method,
        f'/{route}',
        body=None if body is None else json.dumps(body),
        headers=headers,
        timeout=urllib3.Timeout(
          connect=_CONNECT_S, read=timeout or self._patience
        ),
        retries=_READ_AGAIN if method == 'GET' else False,
      )
    except urllib3.exceptions.HTTPError as error:
      raise robot.RobotError(
        f"No answer of the robot's server to {self._url}{route} "
        f'({_reason(error)}); is it running there, and reachable from here?'
      ) from error
    if response.status in accepted:
      is_json = response.headers.get('Content-Type') == 'application/json'
      return _parse(response) if is_json else response.data.decode()
    answer = _parse(response)
    kind = answer.get('kind', 'http') if isinstance(answer, dict) else 'http'
    told = answer.get('error', answer) if isinstance(answer, dict) else answer
    text = f'{self._url}{route} answered {response.status}, {kind}: {told}'
    if response.status == 401:
      text += '; --token-file names the file that holds it'
    if response.status in _MISTAKES:
      raise RequestError(text)
    raise robot.RobotError(text)


def _ahead(asked: float, answered: float, now: float, sent: float) -> float:
  """Returns by how much the server's clock is ahead of this one, s.

  Args:
    asked: when the server was asked for its time, s on this clock.
    answered: when the answer came, likewise.
    now: the answer, s on the server's clock.
    sent: when the last command was sent, likewise, by an earlier estimate.
  """
  # At the most: the server's time is of somewhat later than it was asked for.
  ahead = now - asked
  # By a better estimate than the last one a command would seem to be older than
  # the one before. A clock that was set back is another matter.
  behind = sent - (answered + ahead)
  return ahead + behind if 0 < behind < _SLACK_S else ahead


_ARRAYS = ('pose', 'vel', 'force', 'torque', 'q', 'dq', 'jacobian')


def _reason(error: urllib3.exceptions.HTTPError) -> BaseException:
  """Returns what the system said, without what urllib3 wraps around it."""
  if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
    error = error.reason
  return error.__cause__ or error


def _parse(response: urllib3.BaseHTTPResponse) -> Any:
  """Returns the JSON of an answer, or its text where it is none."""
  try:
    return json.loads(response.data)
  except ValueError:
    return response.data.decode(errors='replace')[:200]
