import socket

import pytest

from serl import configs
from serl.utils import addresses


@pytest.mark.parametrize('first, count', [(1, 1), (65535, 1), (65534, 2)])
def test_ports_that_exist(first, count):
  addresses.check_ports(first, count, 'port_base')


@pytest.mark.parametrize(
  'first, count, told',
  [
    (0, 1, 'port_base is 0, expected 1 to 65535.'),
    (-1, 1, 'port_base is -1, expected 1 to 65535.'),
    (65536, 1, 'port_base is 65536, expected 1 to 65535.'),
    (
      65535,
      2,
      'port_base is 65535, expected 1 to 65534, since it and the next 1 are '
      'used.',
    ),
  ],
)
def test_ports_that_do_not_exist_are_refused(first, count, told):
  with pytest.raises(ValueError) as refused:
    addresses.check_ports(first, count, 'port_base')
  assert str(refused.value) == told


def test_a_port_that_is_held_is_given_to_no_other():
  with addresses.hold_free() as held:
    port = held.getsockname()[1]
    with socket.socket() as other, pytest.raises(OSError, match='in use'):
      other.bind(('127.0.0.1', port))
    with socket.socket() as server:
      server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      server.bind(('127.0.0.1', port))
      server.listen()
      with socket.create_connection(('127.0.0.1', port), 5):
        pass


@pytest.mark.parametrize('first', ['5300', 5300.5, True, None])
def test_ports_that_are_no_integers_are_refused(first):
  with pytest.raises(ValueError, match='expected an integer'):
    addresses.check_ports(first, 1, 'port_base')


@pytest.mark.parametrize(
  'host',
  ['localhost', 'gpu-1.lab.org', 'gpu_1', '10.0.0.5', '::1', '[::1]', 'a.'],
)
def test_hosts(host):
  assert addresses.is_host(host)


@pytest.mark.parametrize(
  'host',
  [
    '',
    ' ',
    'gpu 1',
    'http://gpu',
    'gpu:5300',
    '10.0.0.5:5300',
    '[::1]:5300',
    '[::1',
    '::1]',
    '[10.0.0.5]',
    'user@gpu',
    'gpu/path',
    '10.0.0.500',
    '-gpu',
    'gpu..org',
    'gpu\n',
    '5300',
  ],
)
def test_what_is_more_than_a_host_is_refused(host):
  with pytest.raises(ValueError, match=r'learner_host is .* alone, such as'):
    configs.check_value('learner_host', host, addresses.Host)


def test_an_ipv6_address_is_told_from_its_port():
  assert addresses.join('::1', 53) == addresses.join('[::1]', 53) == '[::1]:53'
  assert addresses.join('gpu', 53) == 'gpu:53'


def test_a_taken_port_is_named():
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=rf'Port {port} .*another live_port'):
      addresses.check_free(port, '127.0.0.1', 'live_port')
  addresses.check_free(port, '127.0.0.1', 'live_port')


@pytest.mark.parametrize(
  'host, expected',
  [
    ('localhost', True),
    ('LocalHost.', True),
    ('127.0.0.2', True),
    ('::1', True),
    ('[::1]', True),
    ('192.168.1.5', False),
    ('localhost.example', False),
  ],
)
def test_the_hosts_that_are_this_machine_are_known(host, expected):
  assert addresses.is_loopback(host) == expected
