"""The HTTP server: a Flask application over a driver and its governor."""

from __future__ import annotations

from collections.abc import Mapping
import hmac
import ipaddress
import json
import logging
import math
import os
from typing import Any
from urllib import parse

import flask
from werkzeug import exceptions

from robot_server import governor as governor_lib
from robot_server import lease as lease_lib
from robot_server import limits as limits_lib
from robot_server import openapi
from robot_server import protocol
from robot_server import routes as routes_lib
from robot_server import serving

_log = logging.getLogger(__name__)

_MAX_BODY = 16 * 1024  # bytes; a command has hundreds
_MAX_NAME = 64  # characters
# They tell nothing of the arm and do nothing to it.
_OPEN_PATHS = ('/', '/openapi.json')
_PAGE_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
  "connect-src 'self'; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'"
)


def make_app(
  driver: protocol.Driver,
  governor: governor_lib.Governor,
  token: str | None = None,
) -> flask.Flask:
  """Returns the application.

  Args:
    driver: of the arm.
    governor: over the same driver; all commands pass it.
    token: that every request must bear in `Authorization: Bearer TOKEN`; None
      demands none, which is for the loopback only.
  """
  app = flask.Flask('robot_server', static_folder=None)
  app.config['MAX_CONTENT_LENGTH'] = _MAX_BODY
  app.json.sort_keys = False
  app.before_request(lambda: _admit(flask.request, token))
  _add_error_handlers(app)
  for route in routes_lib.ROUTES:
    app.add_url_rule(
      route.path,
      route.path.strip('/'),
      _view(route, governor),
      methods=[route.method],
      provide_automatic_options=False,
    )
  app.add_url_rule('/', 'page', _page)
  app.add_url_rule(
    '/openapi.json',
    'openapi',
    lambda: flask.jsonify(openapi.describe(token is not None)),
  )
  _log.info('serving %s', type(driver).__name__)
  return app


def is_loopback(host: str) -> bool:
  """Tells whether an address is reached from this computer only."""
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def _view(route: routes_lib.Route, governor: governor_lib.Governor) -> Any:
  """Returns Flask's view of a route."""

  def view() -> flask.Response:
    caller = _caller(flask.request, lenient=route.stops)
    body = {} if route.body is None else _read_body(flask.request, route.body)
    answer = route.run(governor, body, caller)
    if isinstance(answer, str):
      return flask.Response(answer, mimetype='text/plain')
    response = flask.jsonify(answer)
    if route.path == '/health' and not answer['ok']:
      response.status_code = 503
    return response

  return view


def _caller(request: flask.Request, lenient: bool) -> lease_lib.Caller:
  """Returns whose request it is, and of when.

  Args:
    request: with the headers of `protocol`, or without.
    lenient: whether headers that make no sense are ignored.

  Raises:
    exceptions.BadRequest: they make none.
  """
  sent = name = None
  try:
    sent = _sent(request.headers.get(protocol.SENT))
    name = _name(request.headers.get(protocol.CLIENT))
  except exceptions.BadRequest:
    if not lenient:
      raise
  came = request.environ.get(serving.ARRIVAL)
  if sent is not None and (came is None or sent < came):
    # A clock that is ahead makes nothing younger.
    came = sent
  client = lease_lib.Client(
    request.remote_addr or '', name, request.environ.get(serving.CONNECTION)
  )
  return lease_lib.Caller(client, came, sent)


def _sent(header: str | None) -> float | None:
  """Returns when a request was sent, s on the driver's clock, if that is known.

  Raises:
    exceptions.BadRequest: the header holds no time.
  """
  if header is None:
    return None
  try:
    sent = float(header)
  except ValueError:
    sent = math.nan
  if not math.isfinite(sent):
    raise exceptions.BadRequest(
      f'{protocol.SENT} is {header!r}; expected seconds'
    )
  return sent


def _name(header: str | None) -> str | None:
  """Returns a client's name, if it has one.

  Raises:
    exceptions.BadRequest: the header holds none.
  """
  if header is None:
    return None
  if not 0 < len(header) <= _MAX_NAME or not header.isprintable():
    raise exceptions.BadRequest(
      f'{protocol.CLIENT} is {header[:_MAX_NAME]!r}; expected 1 to '
      f'{_MAX_NAME} printable characters'
    )
  return header


def _page() -> flask.Response:
  """Returns the status page."""
  path = os.path.join(os.path.dirname(__file__), 'page.html')
  with open(path, encoding='utf-8') as file:
    response = flask.Response(file.read(), mimetype='text/html')
  response.headers['Content-Security-Policy'] = _PAGE_POLICY
  return response


def _admit(request: flask.Request, token: str | None) -> None:
  """Refuses a request without the token, or from a page of another site."""
  origin = request.headers.get('Origin')
  if origin is not None and origin.partition('://')[2] != request.host:
    raise exceptions.Forbidden(f'a page of {origin} may not ask this server')
  if token is None:
    # By it a browser on this computer asks for a page of this server; by a name
    # only if a site's was made to point here.
    if not is_loopback(parse.urlsplit('//' + request.host).hostname or ''):
      raise exceptions.Forbidden(
        f"the host is {request.host!r}; expected this computer's: localhost, "
        '127.0.0.1 or ::1'
      )
    return
  if request.path in _OPEN_PATHS:
    return
  kind, _, given = request.headers.get('Authorization', '').partition(' ')
  # As bytes: it refuses to compare texts that are not ASCII.
  if kind.lower() != 'bearer' or not hmac.compare_digest(
    given.strip().encode(), token.encode()
  ):
    raise exceptions.Unauthorized(
      'send the header "Authorization: Bearer TOKEN" with the server\'s token'
    )


def _read_body(
  request: flask.Request, schema: routes_lib.Schema
) -> Mapping[str, Any]:
  """Returns the body, a JSON object with the schema's names; values as given.

  Raises:
    exceptions.HTTPException: it is none.
  """
  if request.mimetype != 'application/json':
    raise exceptions.UnsupportedMediaType(
      f'the body is {request.mimetype or "of no type"!r}; expected '
      'application/json'
    )
  try:
    body = json.loads(request.get_data(), parse_constant=_refuse_constant)
  except (ValueError, RecursionError) as error:
    raise exceptions.BadRequest(f'the body is no JSON: {error}') from error
  names = ', '.join(schema['properties'])
  if not isinstance(body, dict):
    raise exceptions.BadRequest(f'expected a JSON object with {names}')
  missing = [name for name in schema.get('required', ()) if name not in body]
  unknown = [name for name in body if name not in schema['properties']]
  if missing or unknown:
    raise exceptions.BadRequest(
      f'missing: {missing}, unknown: {unknown}; expected an object with {names}'
    )
  return body


def _refuse_constant(name: str) -> None:
  raise ValueError(f'{name} is no number in JSON')


def _add_error_handlers(app: flask.Flask) -> None:
  """Makes every error an answer in JSON that says what is wrong."""

  def answer(status: int, kind: str, error: Any) -> Any:
    return flask.jsonify({'error': str(error), 'kind': kind}), status

  @app.errorhandler(limits_lib.CommandError)
  def refuse_command(error: limits_lib.CommandError) -> Any:
    return answer(400, 'command', error)

  @app.errorhandler(governor_lib.RefusedError)
  def refuse_now(error: governor_lib.RefusedError) -> Any:
    return answer(409, error.kind, error)

  @app.errorhandler(protocol.DriverError)
  def report_driver(error: protocol.DriverError) -> Any:
    return answer(503, error.kind, error)

  @app.errorhandler(exceptions.HTTPException)
  def refuse_request(error: exceptions.HTTPException) -> Any:
    response, status = answer(
      error.code or 500, error.name.lower().replace(' ', '_'), error.description
    )
    if isinstance(error, exceptions.MethodNotAllowed):
      response.headers['Allow'] = ', '.join(sorted(error.valid_methods or ()))
    if isinstance(error, exceptions.Unauthorized):
      response.headers['WWW-Authenticate'] = 'Bearer'
    return response, status
