"""Calls between the nodes: gRPC behind the key of the launch.

A message holds JSON data and arrays, and nothing that is run when it is read.
Only the methods that a server is given by name can be called.
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import json
from typing import Any, NamedTuple

from absl import logging
import grpc
import ml_dtypes
import msgpack
import numpy as np

from serl.programs.distributed import keys

_SERVICE = 'serl.Node'
_WORKERS = 32  # calls under way; each node has one or two that wait
_STOP_S = 0.5  # for the calls under way when a server stops
_CHANNEL = (
  ('grpc.max_send_message_length', -1),
  ('grpc.max_receive_message_length', -1),
  # An environment's http_proxy is not meant for the nodes of a run.
  ('grpc.enable_http_proxy', 0),
)
_CLIENT = (
  *_CHANNEL,
  ('grpc.ssl_target_name_override', keys.NAME),
  # A learner that was started again is found at once, a cable that was pulled
  # is noticed.
  ('grpc.initial_reconnect_backoff_ms', 200),
  ('grpc.max_reconnect_backoff_ms', 2000),
  ('grpc.keepalive_time_ms', 10_000),
  ('grpc.keepalive_timeout_ms', 10_000),
)
_SERVER = (
  *_CHANNEL,
  ('grpc.so_reuseport', 0),  # a second server on a port is refused
  ('grpc.http2.min_ping_interval_without_data_ms', 5000),
)
_DTYPES = {
  np.dtype(dtype).name: np.dtype(dtype)
  for dtype in (
    *(np.bool_, np.int8, np.int16, np.int32, np.int64),
    *(np.uint8, np.uint16, np.uint32, np.uint64),
    # TensorFlow, if it is imported, has a bfloat16 of its own: this is JAX's.
    *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16),
  )
}


class CallError(ConnectionError):
  """The other node was not reached, or did not answer in time."""


class OtherKeyError(CallError):
  """The other node holds another key."""


class MessageError(ValueError):
  """A message is not of JSON data and arrays."""


class Message(NamedTuple):
  """What a call carries, there and back."""

  fields: Mapping[str, Any] = {}  # JSON data
  arrays: Mapping[str, np.ndarray] = {}


def encode(message: Message) -> bytes:
  """Returns a message as bytes.

  Raises:
    MessageError: it holds something else than JSON data and numeric arrays.
  """
  arrays = {}
  for name, array in message.arrays.items():
    array = np.asarray(array)
    if array.dtype.name not in _DTYPES:
      raise MessageError(
        f'The array {name!r} is of {array.dtype}, expected numbers.'
      )
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    arrays[name] = [array.dtype.name, list(array.shape), flat.data]
  try:
    return msgpack.packb([json.dumps(message.fields), arrays])
  except (TypeError, ValueError, OverflowError) as error:
    raise MessageError(f'{error}; expected JSON data.') from error


def decode(data: bytes) -> Message:
  """Returns the message in `data`; its arrays cannot be written to.

  Raises:
    MessageError: `data` holds something else.
  """
  try:
    fields, arrays = msgpack.unpackb(data)
    fields = json.loads(fields)
    arrays = {name: _array(*array) for name, array in arrays.items()}
  except Exception as error:
    # Whatever is wrong with it: the bytes may be anybody's.
    raise MessageError(f'It holds no JSON data and arrays: {error}') from error
  if not isinstance(fields, dict):
    raise MessageError(f'Its fields are {fields!r}, expected an object.')
  return Message(fields, arrays)


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
  return np.frombuffer(data, _DTYPES[dtype]).reshape(_checked_shape(shape))


def _checked_shape(shape: list[int]) -> list[int]:
  if any(not isinstance(size, int) or size < 0 for size in shape):
    raise MessageError(f'an array of shape {shape}')
  return shape


Method = Callable[[Message], Message]


class Server:
  """Serves methods by their names to those who hold the key."""

  def __init__(
    self, methods: Mapping[str, Method], address: str, key: keys.Key
  ):
    """Starts to serve.

    Args:
      methods: by name. A ValueError that one raises is raised at the caller.
      address: HOST:PORT to listen on; port 0 takes a free one.
      key: of the launch.

    Raises:
      OSError: the address cannot be listened on.
    """
    self._server = grpc.server(
      futures.ThreadPoolExecutor(_WORKERS, 'rpc'), options=_SERVER
    )
    handlers = {
      name: grpc.unary_unary_rpc_method_handler(_handler(name, method))
      for name, method in methods.items()
    }
    self._server.add_generic_rpc_handlers(
      (grpc.method_handlers_generic_handler(_SERVICE, handlers),)
    )
    credentials = grpc.ssl_server_credentials(
      [(key.private, key.certificate)], key.certificate, True
    )
    try:
      self.port = self._server.add_secure_port(address, credentials)
    except RuntimeError as error:
      raise OSError(f'Cannot listen on {address}: {error}') from error
    self._server.start()

  def stop(self) -> None:
    """Refuses calls from now on, and ends those under way."""
    self._server.stop(_STOP_S).wait()


def _handler(name: str, method: Method) -> Callable[..., bytes]:
  def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
    try:
      return encode(method(decode(request)))
    except ValueError as error:
      code, text = grpc.StatusCode.INVALID_ARGUMENT, str(error)
    except Exception as error:  # noqa: BLE001 (the caller gets it)
      logging.exception('The call %s failed.', name)
      code, text = grpc.StatusCode.INTERNAL, f'{type(error).__name__}: {error}'
    context.abort(code, text)

  return handle


class Client:
  """Calls the methods of a server; any thread may."""

  def __init__(self, address: str, key: keys.Key):
    """Initialises the client; the first call connects.

    Args:
      address: HOST:PORT of the server.
      key: of the launch.
    """
    self._address = address
    credentials = grpc.ssl_channel_credentials(
      key.certificate, key.private, key.certificate
    )
    self._channel = grpc.secure_channel(address, credentials, _CLIENT)

  def call(self, method: str, message: Message, timeout_s: float) -> Message:
    """Returns a method's answer.

    Raises:
      CallError: the server was not reached or took longer than `timeout_s`.
      OtherKeyError: the server holds another key.
      ValueError: the server refuses the message; says why.
      RuntimeError: the method failed, or there is none of this name.
    """
    call = self._channel.unary_unary(f'/{_SERVICE}/{method}')
    try:
      return decode(call(encode(message), timeout=timeout_s))
    except grpc.RpcError as error:
      raise self._error(method, error.code(), error.details()) from None

  def close(self) -> None:
    """Ends the connection, and the calls under way."""
    self._channel.close()

  def _error(self, method: str, code: grpc.StatusCode, text: str) -> Exception:
    if 'CERTIFICATE_VERIFY_FAILED' in text:
      return OtherKeyError(
        f'{self._address} holds another key than this node: copy key.pem from '
        "the learner's run folder again."
      )
    if code is grpc.StatusCode.INVALID_ARGUMENT:
      return ValueError(text)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
      return CallError(f'{self._address} did not answer {method} in time.')
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
      # gRPC's own text names another address at each attempt.
      return CallError(f'{self._address} cannot be reached.')
    return RuntimeError(f'{method} of {self._address}: {code.name}, {text}')
