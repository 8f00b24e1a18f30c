"""A real gRPC server: who may call it, what is read, and what is not."""

import contextlib
import os
import pickle
import socket
import time

import pytest

grpc = pytest.importorskip('grpc', reason='it comes with the extra `launch`')

import ml_dtypes
import msgpack
import numpy as np

from serl.programs.distributed import keys
from serl.programs.distributed import rpc

_TIMEOUT_S = 30
_UNREADABLE = {
  'nothing': b'',
  'a pickle': pickle.dumps({'a': 1}),
  'no fields': msgpack.packb([]),
  'fields of another kind': msgpack.packb(['[1]', {}]),
  'an extension': msgpack.packb([msgpack.ExtType(1, b'x'), {}]),
  'a time': msgpack.packb([msgpack.Timestamp(1), {}]),
  'an array of objects': msgpack.packb(
    [{}, {'a': ['object', [1], b'8bytes..']}]
  ),
  'a negative shape': msgpack.packb(['{}', {'a': ['float32', [-1], b'1234']}]),
  'too few bytes': msgpack.packb(['{}', {'a': ['float32', [2**40], b'1234']}]),
  'a torn message': rpc.encode(rpc.Message({'a': 'x' * 100}))[:50],
  'deep nesting': b'\x91' * 100_000,
  'a length that is a lie': b'\xdd\xff\xff\xff\xff',
}


@pytest.fixture(scope='module')
def key(tmp_path_factory):
  file = tmp_path_factory.mktemp('keys') / 'key.pem'
  keys.make(file)
  return keys.read(file)


@contextlib.contextmanager
def _serving(key, **methods):
  server = rpc.Server(methods, '127.0.0.1:0', key)
  try:
    yield f'127.0.0.1:{server.port}'
  finally:
    server.stop()


def test_messages_come_out_as_they_went_in():
  wide = np.arange(12, dtype=np.float32).reshape(2, 6)
  arrays = {
    'strided': wide[:, ::2],
    'scalar': np.float32(2.5),
    'empty': np.zeros((0, 3)),
    'half': np.ones(5, ml_dtypes.bfloat16),
    'flags': np.array([True, False]),
    'images': np.arange(8, dtype=np.uint8).reshape(1, 2, 4),
  }
  fields = {'a': [1, 2.5, None, 'x', True], 'b': {'c': {}}}
  given, found = rpc.decode(rpc.encode(rpc.Message(fields, arrays)))
  assert given == fields
  assert list(found) == list(arrays)
  for name, array in arrays.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize('data', _UNREADABLE.values(), ids=_UNREADABLE)
def test_what_is_no_message_is_refused(data):
  with pytest.raises(rpc.MessageError):
    rpc.decode(data)


@pytest.mark.parametrize(
  'message',
  [
    rpc.Message({'a': object()}),
    rpc.Message({}, {'a': np.array(['text'])}),
    rpc.Message({}, {'a': np.array([None])}),
  ],
)
def test_what_is_no_data_is_not_sent(message):
  with pytest.raises(rpc.MessageError):
    rpc.encode(message)


def test_only_the_named_methods_are_called_and_by_the_key_alone(key, tmp_path):
  called = []

  def method(message):
    called.append(message.fields['x'])
    return rpc.Message({'x': 2 * message.fields['x']})

  other_file = tmp_path / 'other.pem'
  keys.make(other_file)
  with _serving(key, double=method) as address:
    client = rpc.Client(address, key)
    message = rpc.Message({'x': 21})
    assert client.call('double', message, _TIMEOUT_S).fields == {'x': 42}
    for name in ('run', '__init__', 'ListMethods', ''):
      with pytest.raises(RuntimeError, match='UNIMPLEMENTED'):
        client.call(name, message, _TIMEOUT_S)
    stranger = rpc.Client(address, keys.read(other_file))
    with pytest.raises(rpc.OtherKeyError, match='another key'):
      stranger.call('double', message, _TIMEOUT_S)
    unkeyed = [
      grpc.insecure_channel(address),
      grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(key.certificate),  # knows, cannot prove
        [('grpc.ssl_target_name_override', keys.NAME)],
      ),
    ]
    for channel in unkeyed:
      with channel, pytest.raises(grpc.RpcError):
        channel.unary_unary('/serl.Node/double')(
          rpc.encode(message), timeout=5, wait_for_ready=False
        )
    with pytest.raises(OSError):
      host, port = address.replace('127.0.0.1', '127.0.0.2').split(':')
      socket.create_connection((host, int(port)), 5)
  assert called == [21]


class _Attack:
  """Leaves a file where it is unpickled."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return os.mkdir, (self._path,)


def test_nothing_is_unpickled(key, tmp_path):
  called = []
  trap = tmp_path / 'ran'
  with _serving(key, f=called.append) as address:
    credentials = grpc.ssl_channel_credentials(
      key.certificate, key.private, key.certificate
    )
    options = [('grpc.ssl_target_name_override', keys.NAME)]
    with (
      grpc.secure_channel(address, credentials, options) as channel,
      pytest.raises(grpc.RpcError) as raised,
    ):
      channel.unary_unary('/serl.Node/f')(
        pickle.dumps(_Attack(trap)), timeout=_TIMEOUT_S
      )
  assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
  assert not trap.exists() and called == []


def test_errors_come_back_as_what_they_are(key):
  def refuse(_):
    raise ValueError('reward: missing')

  def fail(_):
    raise KeyError('bug')

  with _serving(key, refuse=refuse, fail=fail) as address:
    client = rpc.Client(address, key)
    with pytest.raises(ValueError, match=r'^reward: missing$'):
      client.call('refuse', rpc.Message(), _TIMEOUT_S)
    with pytest.raises(RuntimeError, match="INTERNAL, KeyError: 'bug'"):
      client.call('fail', rpc.Message(), _TIMEOUT_S)
    with pytest.raises(OSError, match=f'Cannot listen on {address}'):
      rpc.Server({}, address, key)
  with pytest.raises(rpc.CallError, match=address):
    client.call('refuse', rpc.Message(), _TIMEOUT_S)


def test_a_client_finds_a_server_that_came_back(key):
  with _serving(key, f=lambda message: message) as address:
    client = rpc.Client(address, key)
    client.call('f', rpc.Message(), _TIMEOUT_S)
  with pytest.raises(rpc.CallError):
    client.call('f', rpc.Message(), _TIMEOUT_S)
  server = rpc.Server({'f': lambda message: message}, address, key)
  try:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
      with contextlib.suppress(rpc.CallError):
        client.call('f', rpc.Message(), _TIMEOUT_S)
        return
      time.sleep(0.05)
    raise AssertionError('not reached')
  finally:
    server.stop()


@pytest.mark.parametrize(
  'spoil, expected',
  [
    (lambda file: file.unlink(), 'is not there'),
    (lambda file: file.chmod(0o640), 'chmod 600'),
    (lambda file: file.write_text('hello'), 'holds no private key'),
    (lambda file: (file.unlink(), file.mkdir()), 'is no file'),
    (lambda file: (file.unlink(), os.mkfifo(file, 0o600)), 'is no file'),
  ],
)
def test_a_key_that_is_of_no_use_is_named(tmp_path, spoil, expected):
  file = tmp_path / 'key.pem'
  keys.make(file)
  spoil(file)
  with pytest.raises(keys.KeyFileError, match=expected) as raised:
    keys.read(file)
  assert str(file) in str(raised.value)
