import pytest

from robot_server import app as app_lib
from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import openapi
from robot_server import testing


def make_app(driver):
  return app_lib.make_app(
    driver, governor_lib.Governor(driver, limits_lib.Limits())
  )


def test_every_route_is_described_and_the_other_way_round():
  app = make_app(testing.KinematicDriver())
  served = {
    (rule.rule, method.lower())
    for rule in app.url_map.iter_rules()
    for method in rule.methods - {'HEAD', 'OPTIONS'}
  } - {('/', 'get'), ('/openapi.json', 'get')}
  described = {
    (path, method)
    for path, operations in openapi.describe(token=False)['paths'].items()
    for method in operations
  }

  assert described == served
  assert len(described) == 25


def test_the_token_is_described_where_it_is_demanded():
  assert 'security' not in openapi.describe(token=False)
  description = openapi.describe(token=True)
  assert description['security'] == [{'token': []}]
  scheme = description['components']['securitySchemes']['token']
  assert scheme == {'type': 'http', 'scheme': 'bearer'}


def test_the_server_answers_its_description():
  client = make_app(testing.KinematicDriver()).test_client()
  assert client.get('/openapi.json').json == openapi.describe(token=False)


def test_what_the_server_does_is_what_the_description_says():
  pytest.importorskip('schemathesis', reason='schemathesis is not installed')
  import hypothesis
  import schemathesis
  from schemathesis import checks

  driver = testing.KinematicDriver()
  schema = schemathesis.openapi.from_wsgi('/openapi.json', make_app(driver))
  cases = 0

  for operation in schema.get_all_operations():

    @hypothesis.settings(
      max_examples=20,
      deadline=None,
      database=None,
      derandomize=True,
      suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.ok().as_strategy())
    def test(case):
      nonlocal cases
      cases += 1
      case.call_and_validate(
        # A hold, once asked for, is an answer of its own: 409.
        excluded_checks=[checks.positive_data_acceptance]
        if hasattr(checks, 'positive_data_acceptance')
        else []
      )

    test()

  assert cases > 25
  assert all(command[0] <= 0.75 for command in driver.commands)
