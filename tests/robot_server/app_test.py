import contextlib
import http.client
import json
import threading
from urllib import parse

import httpx
import numpy as np
import pytest
from scipy.spatial import transform

from robot_server import app as app_lib
from robot_server import audit as audit_lib
from robot_server import governor as governor_lib
from robot_server import limits as limits_lib
from robot_server import protocol
from robot_server import routes as routes_lib
from robot_server import testing

POSE = [0.52, 0.01, 0.3, 1.0, 0.0, 0.0, 0.0]
TOKEN = 'a-secret-of-some-length'
# A busy machine lets threads wait.
PATIENT = limits_lib.Limits(command_ttl=60.0)


@pytest.fixture
def driver():
  return testing.KinematicDriver()


@pytest.fixture
def governor(driver):
  return governor_lib.Governor(driver, PATIENT)


@pytest.fixture
def client(driver, governor):
  return app_lib.make_app(driver, governor).test_client()


def moved(driver):
  """Tells whether anything at all has been done to the arm."""
  defaults = {name: r.default for name, r in protocol.COMPLIANCE.items()}
  return bool(
    driver.commands or driver.gripper.commands or driver.compliance != defaults
  )


SERL_ROUTES = [
  'startimp',
  'stopimp',
  'pose',
  'getpos',
  'getpos_euler',
  'getvel',
  'getforce',
  'gettorque',
  'getq',
  'getdq',
  'getjacobian',
  'getstate',
  'jointreset',
  'activate_gripper',
  'reset_gripper',
  'get_gripper',
  'close_gripper',
  'open_gripper',
  'move_gripper',
  'clearerr',
  'update_param',
]


def test_every_route_of_serl_is_a_post():
  methods = {route.path: route.method for route in routes_lib.ROUTES}
  assert {methods[f'/{name}'] for name in SERL_ROUTES} == {'POST'}


@pytest.mark.parametrize(
  'route, names',
  [
    ('getpos', {'pose': (7,)}),
    ('getpos_euler', {'pose': (6,)}),
    ('getvel', {'vel': (6,)}),
    ('getforce', {'force': (3,)}),
    ('gettorque', {'torque': (3,)}),
    ('getq', {'q': (7,)}),
    ('getdq', {'dq': (7,)}),
    ('getjacobian', {'jacobian': (6, 7)}),
    ('get_gripper', {'gripper': ()}),
    (
      'getstate',
      {
        'pose': (7,),
        'vel': (6,),
        'force': (3,),
        'torque': (3,),
        'q': (7,),
        'dq': (7,),
        'jacobian': (6, 7),
        'gripper_pos': (),
      },
    ),
  ],
)
def test_parts_of_the_state(client, route, names):
  response = client.post(f'/{route}')

  assert response.status_code == 200
  assert {name: np.shape(part) for name, part in response.json.items()} == names


def test_the_euler_angles_are_extrinsic_xyz(client, driver):
  euler = [0.3, -0.2, 0.1]
  pose = [0.5, 0, 0.3, *transform.Rotation.from_euler('xyz', euler).as_quat()]
  driver.command_pose(pose)
  driver._pose = np.array(pose)

  answer = client.post('/getpos_euler').json['pose']

  np.testing.assert_allclose(answer, [0.5, 0, 0.3, *euler])


def test_a_pose_arrives(client, driver):
  response = client.post('/pose', json={'arr': POSE})

  assert response.text == 'Moved'
  np.testing.assert_array_equal(driver.commands, [POSE])


def test_a_pose_that_was_limited_says_so(driver):
  governor = governor_lib.Governor(driver, limits_lib.Limits())
  client = app_lib.make_app(driver, governor).test_client()
  response = client.post('/pose', json={'arr': [9, *POSE[1:]]})

  assert response.text == 'Moved, limited by box, speed, step'
  assert driver.commands[0][0] < 0.7


def test_a_step_commands_and_answers_the_state(client, driver):
  answer = client.post('/step', json={'arr': POSE}).json

  np.testing.assert_array_equal(driver.commands, [POSE])
  assert set(client.post('/getstate').json) < set(answer)
  assert answer['sent'] == POSE
  assert answer['limited_by'] == answer['faults'] == []
  assert answer['mode'] == 'moving'
  assert 0 <= answer['age'] < 1


def test_the_gripper(client, driver):
  for route in ('activate', 'reset', 'close', 'open'):
    assert client.post(f'/{route}_gripper').status_code == 200
  client.post('/move_gripper', json={'gripper_pos': 100})

  assert driver.gripper.commands == [
    'activate',
    'reset',
    'activate',
    255,
    0,
    100,
  ]
  assert client.post('/get_gripper').json == {'gripper': 100.0}


def test_compliance(client, driver):
  response = client.post(
    '/update_param', json={'translational_stiffness': 3000, 'rotational_Ki': 1}
  )

  assert response.status_code == 200
  assert driver.compliance['translational_stiffness'] == 3000


def test_the_controllers(client, driver):
  assert client.post('/stopimp').text == 'Stopped impedance'
  response = client.post('/pose', json={'arr': POSE})
  assert (response.status_code, response.json['kind']) == (503, 'controller')
  assert client.post('/startimp').text == 'Started impedance'
  assert client.post('/pose', json={'arr': POSE}).status_code == 200
  assert client.post('/jointreset').text == 'Reset Joint'
  assert driver.q[3] == -1.9
  assert client.post('/clearerr').text == 'Clear'
  assert driver.recoveries == 1


def test_hold_and_release(client, driver):
  assert client.post('/hold').status_code == 200
  response = client.post('/pose', json={'arr': POSE})
  assert (response.status_code, response.json['kind']) == (409, 'held')
  health = client.get('/health')
  assert (health.status_code, health.json['held']) == (503, True)

  client.post('/release')
  assert client.post('/pose', json={'arr': POSE}).status_code == 200
  health = client.get('/health')
  assert (health.status_code, health.json['ok']) == (200, True)


def test_the_arms_errors_are_answered(client, driver):
  driver.mode, driver.faults = 'reflex', ('joint_reflex',)
  response = client.post('/step', json={'arr': POSE})
  assert (response.status_code, response.json['kind']) == (503, 'reflex')
  assert 'joint_reflex' in response.json['error']

  driver.silent_since = driver.now() - 1
  response = client.post('/getstate')
  assert (response.status_code, response.json['kind']) == (503, 'stale_state')
  health = client.get('/health')
  assert health.status_code == 503
  assert health.json['state'] is None
  assert 'stale_state' in health.json['last_error']


def test_a_fault_of_the_server_is_answered_without_its_insides(client, driver):
  def fail():
    raise KeyError('insides')

  driver.read_state = fail
  response = client.post('/getstate')
  assert response.status_code == 500
  assert response.json['kind'] == 'internal_server_error'
  assert 'insides' not in response.text


BODIES = [
  b'',
  b'{',
  b'null',
  b'[1]',
  b'"arr"',
  b'{}',
  b'{"arr": 1}',
  b'{"arr": []}',
  b'{"arr": [0.5, 0, 0.3, 1, 0, 0]}',
  b'{"arr": [0.5, 0, 0.3, 1, 0, 0, 0, 0]}',
  b'{"arr": [0.5, 0, 0.3, 1, 0, 0, NaN]}',
  b'{"arr": [0.5, 0, Infinity, 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, -Infinity, 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, 1e999, 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, ' + b'9' * 400 + b', 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, 0.3, 0, 0, 0, 0]}',
  b'{"arr": [0.5, 0, true, 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, "0.3", 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, [0.3], 1, 0, 0, 0]}',
  b'{"arr": [0.5, 0, 0.3, 1, 0, 0, 0], "speed": 1}',
  b'{"arr": "0.5, 0, 0.3, 1, 0, 0, 0"}',
  b'{"gripper_pos": NaN}',
  b'{"gripper_pos": 256}',
  b'{"gripper_pos": -1}',
  b'{"gripper_pos": "open"}',
  b'{"translational_stiffness": 6001}',
  b'{"translational_stiffness": [1]}',
  b'{"translational_stiffness": 3000, "stiffness": 1}',
  b'\xff\xfe',
  b'{"\\ud800": 1}',
  b'[' * 10_000,
]


@pytest.mark.parametrize('route', ['pose', 'step', 'move_gripper'])
@pytest.mark.parametrize('body', BODIES)
def test_a_wrong_body_is_refused_and_nothing_moves(client, driver, route, body):
  response = client.post(
    f'/{route}', data=body, content_type='application/json'
  )

  assert response.status_code == 400
  assert response.json['error']
  assert not moved(driver)


@pytest.mark.parametrize('body', [body for body in BODIES if body != b'{}'])
def test_wrong_compliance_is_refused(client, driver, body):
  response = client.post(
    '/update_param', data=body, content_type='application/json'
  )

  assert response.status_code == 400
  assert response.json['error']
  assert not moved(driver)


def test_the_reason_names_what_is_wrong(client):
  response = client.post('/pose', json={'arr': [1, 2]})
  assert response.json == {
    'error': 'the pose has 2 values; expected 7 finite numbers',
    'kind': 'command',
  }


def test_other_types_of_body_are_refused(client, driver):
  body = json.dumps({'arr': POSE})
  for kind in ('text/plain', 'application/x-www-form-urlencoded', None):
    response = client.post('/pose', data=body, content_type=kind)
    assert response.status_code == 415
  assert not moved(driver)


def test_a_large_body_is_refused(client, driver):
  body = json.dumps({'arr': POSE}) + ' ' * 20_000
  response = client.post('/pose', data=body, content_type='application/json')
  assert response.status_code == 413
  assert response.json['error']
  assert not moved(driver)


def test_unknown_routes_and_methods(client, driver):
  assert client.post('/grasp').status_code == 404
  assert client.post('/grasp').json['kind'] == 'not_found'
  for method in ('get', 'put', 'delete', 'patch', 'options'):
    response = getattr(client, method)('/pose', json={'arr': POSE})
    assert response.status_code == 405
    assert response.json['error']
    assert response.headers['Allow'] == 'POST'
  assert not moved(driver)


@pytest.mark.parametrize(
  'header',
  [
    None,
    '',
    TOKEN,
    f'Basic {TOKEN}',
    'Bearer',
    'Bearer ',
    f'Bearer {TOKEN}x',
    f'Bearer {TOKEN[:-1]}',
    f'Bearer {TOKEN.upper()}',
    'Bearer \u00e9',
  ],
)
def test_without_the_token_nothing_is_told_or_done(driver, governor, header):
  client = app_lib.make_app(driver, governor, TOKEN).test_client()
  headers = {} if header is None else {'Authorization': header}
  for route in routes_lib.ROUTES:
    response = client.open(
      route.path, method=route.method, json={'arr': POSE}, headers=headers
    )
    assert response.status_code == 401
    assert set(response.json) == {'error', 'kind'}
  assert not moved(driver)


def test_with_the_token(driver, governor):
  client = app_lib.make_app(driver, governor, TOKEN).test_client()
  response = client.post(
    '/pose', json={'arr': POSE}, headers={'Authorization': f'Bearer {TOKEN}'}
  )
  assert response.status_code == 200
  # The page asks for the token itself.
  assert client.get('/').status_code == 200


def test_pages_of_other_sites_are_refused(client, driver):
  for headers in (
    {'Origin': 'https://example.com'},
    {'Origin': 'null'},
    {'Origin': 'http://localhost:8000'},
    {'Host': 'example.com'},
    {'Host': 'example.com:5000'},
    {'Host': 'localhost.example.com'},
  ):
    response = client.post('/close_gripper', headers=headers)
    assert response.status_code == 403
  assert not moved(driver)

  for headers in (
    {'Origin': 'http://localhost'},
    {'Host': '127.0.0.1:5000'},
    {'Host': '[::1]:5000'},
    {'Host': '127.0.0.1:5000', 'Origin': 'http://127.0.0.1:5000'},
  ):
    assert client.post('/getq', headers=headers).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(client):
  response = client.get('/')
  assert response.mimetype == 'text/html'
  assert "default-src 'none'" in response.headers['Content-Security-Policy']
  for word in ('http://', 'https://', 'src=', '@import', 'innerHTML'):
    assert word not in response.text


def test_one_connection_serves_many_requests(driver, tmp_path):
  audit = audit_lib.AuditLog(tmp_path / 'audit.jsonl')
  with testing.serving(driver, PATIENT, audit) as url:
    address = parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.connect()
    socket = connection.sock
    for _ in range(20):
      connection.request(
        'POST',
        '/step',
        json.dumps({'arr': POSE}),
        {'Content-Type': 'application/json'},
      )
      assert connection.getresponse().read().startswith(b'{"pose"')
    # It would have been opened anew had the server closed it.
    assert connection.sock is socket
    connection.close()
  audit.close()

  lines = (tmp_path / 'audit.jsonl').read_text().splitlines()
  poses = [line for line in lines if json.loads(line)['event'] == 'pose']
  assert len(poses) == 20


def test_a_silent_client_is_noticed_over_http(driver):
  with testing.serving(driver) as url, httpx.Client(base_url=url) as client:
    client.post('pose', json={'arr': [0.6, 0, 0.3, 1, 0, 0, 0]})
    commands = []
    for _ in range(500):
      commands = client.get('health').json()['last_commands']
      if commands[0]['event'] == 'watchdog':
        break
  assert commands[0]['event'] == 'watchdog'
  assert len(driver.commands) == 2


def test_many_connections_of_a_client_at_once(driver):
  with testing.serving(driver, PATIENT) as url:
    codes = []

    def ask():
      name = {protocol.CLIENT: 'a run'}
      with httpx.Client(base_url=url, headers=name) as client:
        for _ in range(10):
          codes.append(client.post('step', json={'arr': POSE}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join(60)

  assert codes == [200] * 40
  np.testing.assert_allclose(driver.commands, [POSE] * 40)


def test_the_real_server_refuses_a_huge_body(driver):
  with testing.serving(driver) as url, httpx.Client(base_url=url) as client:
    # It may hang up while the body is still being sent.
    with contextlib.suppress(httpx.TransportError):
      response = client.post('pose', content=b' ' * 1_000_000)
      assert response.status_code in (413, 415)
    assert client.post('getq').status_code == 200
  assert not moved(driver)
