"""A page in the browser with what the policy sees."""

from collections.abc import Iterator
import contextlib
from http import server
import io
import threading

from absl import logging
import dm_env
import numpy as np

from serl import specs
from serl.environments.wrappers import base

_PAGE = """<!doctype html><title>what the policy sees</title>
<body style="margin:0;background:#111">
<img src="/stream" style="height:100vh;max-width:100vw;object-fit:contain;
image-rendering:pixelated">
<pre id="note" style="position:fixed;bottom:0;margin:0;padding:.5em;color:#fff;
background:#a3312a;white-space:pre-wrap;font-size:1.2em" hidden></pre>
<script>
setInterval(async () => {
  const note = document.getElementById('note');
  try {
    note.textContent = await (await fetch('/note')).text();
  } catch (error) {
    note.textContent = 'The run does not answer: it has ended, or hangs.';
  }
  note.hidden = !note.textContent;
}, 1000);
</script>"""
_BOUNDARY = 'picture'
_REPEAT_S = 1.0  # a picture is shown again where no new one comes
HOST = '127.0.0.1'  # that the page is served at by default
_POLL_S = 0.05  # within which the server notices that it is closed


class _Handler(server.BaseHTTPRequestHandler):
  """Answers with the page, its server's `note`, or the pictures of `stream`."""

  def do_GET(self) -> None:
    kinds = {
      '/': 'text/html',
      '/note': 'text/plain; charset=utf-8',
      '/stream': f'multipart/x-mixed-replace; boundary={_BOUNDARY}',
    }
    if self.path not in kinds:
      self.send_error(404)
      return
    self.send_response(200)
    self.send_header('Content-Type', kinds[self.path])
    self.end_headers()
    parts = {
      '/': lambda: [_PAGE.encode()],
      '/note': lambda: [self.server.note.encode()],
      '/stream': self.server.stream,
    }[self.path]()
    # Who looks away closes the connection.
    with contextlib.suppress(ConnectionError):
      for part in parts:
        self.wfile.write(part)

  def log_message(self, format: str, *args: object) -> None:
    logging.debug(format, *args)


class LiveView(base.EnvironmentWrapper):
  """Serves the observed images, side by side, as a page with moving pictures.

  They are those that the policy gets, cut and scaled. Nothing is encoded while
  nobody looks.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    port: int = 8090,
    host: str = HOST,
  ):
    """Wraps `environment` and begins to serve.

    Args:
      environment: observes images, among other things.
      port: of the page; 0 takes a free one.
      host: the address to serve at. The page asks nobody for a password.

    Raises:
      ValueError: it observes no images.
      OSError: the port is taken.
    """
    super().__init__(environment)
    leaves = specs.flatten(environment.observation_spec())
    self._names = [name for name in leaves if specs.is_image(leaves[name])]
    if not self._names:
      raise ValueError(
        f'There is nothing to see: the observation has {sorted(leaves)}, '
        'expected images.'
      )
    self._picture: np.ndarray | None = None
    self._new = threading.Condition()
    self._closed = False
    # What is served is so little that the standard library's server will do.
    self._server = server.ThreadingHTTPServer((host, port), _Handler)
    self._server.stream = self._stream
    self._server.note = ''
    self._thread = threading.Thread(
      target=self._server.serve_forever,
      args=(_POLL_S,),
      name='live_view',
      daemon=True,
    )
    self._thread.start()
    logging.info('What the policy sees: %s', self.url)

  @property
  def url(self) -> str:
    """The address of the page."""
    host, port = self._server.server_address[:2]
    return f'http://{host}:{port}/'

  def note(self, text: str) -> None:
    """Shows `text` below the pictures; '' takes it away."""
    self._server.note = text

  def reset(self) -> dm_env.TimeStep:
    return self._shown(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._shown(self._environment.step(action))

  def close(self) -> None:
    with self._new:
      self._closed = True
      self._new.notify_all()
    self._server.shutdown()
    self._server.server_close()
    super().close()

  def _shown(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    leaves = specs.flatten(timestep.observation)
    images = [leaves[name] for name in self._names]
    # Of a stack the newest; a copy: environments reuse their buffers.
    newest = [image[-1] if image.ndim == 4 else image for image in images]
    with self._new:
      self._picture = _side_by_side(newest)
      self._new.notify_all()
    return timestep

  def _stream(self) -> Iterator[bytes]:
    """Yields the pictures as the parts of an answer that does not end."""
    seen = None
    while True:
      with self._new:
        if self._picture is seen:
          self._new.wait(_REPEAT_S)
        if self._closed:
          return
        seen = self._picture
      if seen is not None:
        header = f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n'
        yield header.encode() + _jpeg(seen) + b'\r\n'


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
  """Returns one picture of several, [H, W, 3]; shorter ones end in black."""
  height = max(len(image) for image in images)
  padded = [
    np.pad(image[..., :3], ((0, height - len(image)), (0, 0), (0, 0)))
    for image in images
  ]
  return np.concatenate(padded, axis=1)


def _jpeg(picture: np.ndarray) -> bytes:
  # It comes with [sim] and [franka].
  import imageio.v2 as imageio

  encoded = io.BytesIO()
  imageio.imwrite(encoded, picture, format='jpeg', quality=90)
  return encoded.getvalue()
