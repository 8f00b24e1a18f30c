"""The OpenAPI description of the server, from the table of its routes."""

from __future__ import annotations

from typing import Any

from robot_server import routes as routes_lib

_ERROR = {
  'type': 'object',
  'properties': {'error': {'type': 'string'}, 'kind': {'type': 'string'}},
  'required': ['error', 'kind'],
}
# What a route may answer beside its own answer.
_ERRORS = {
  '400': 'The body or a value in it is wrong, or outside of the limits.',
  '401': 'The token is missing or wrong.',
  '403': 'The request came from a page of another site.',
  '409': 'Not now: the arm is held, busy, led by another client or was '
  'recovered too often, or the request has waited too long.',
  '413': 'The body is too large.',
  '415': 'The body is not application/json.',
  '503': 'The arm cannot: "kind" says why.',
}


def _answer(route: routes_lib.Route) -> dict[str, Any]:
  if route.answer is None:
    return {'text/plain': {'schema': {'type': 'string'}}}
  return {'application/json': {'schema': route.answer}}


def _operation(route: routes_lib.Route) -> dict[str, Any]:
  responses: dict[str, Any] = {
    '200': {'description': 'Done.', 'content': _answer(route)}
  }
  for status, description in _ERRORS.items():
    content = {'application/json': {'schema': _ERROR}}
    if route.path == '/health' and status == '503':
      content = _answer(route)
    responses[status] = {'description': description, 'content': content}
  operation = {
    'summary': route.summary,
    'operationId': route.path.strip('/'),
    'responses': responses,
  }
  if route.body is not None:
    operation['requestBody'] = {
      'required': True,
      'content': {'application/json': {'schema': route.body}},
    }
  return operation


def describe(token: bool) -> dict[str, Any]:
  """Returns the description as plain data.

  Args:
    token: whether the server demands one.
  """
  description = {
    'openapi': '3.1.0',
    'info': {'title': 'robot_server', 'version': '0.1.0'},
    'paths': {
      route.path: {route.method.lower(): _operation(route)}
      for route in routes_lib.ROUTES
    },
  }
  if token:
    description['components'] = {
      'securitySchemes': {'token': {'type': 'http', 'scheme': 'bearer'}}
    }
    description['security'] = [{'token': []}]
  return description
