"""The key of a launch, which admits a node to the calls of a run.

A file of a private key and its certificate (PEM). The learner shows the
certificate and wants to be shown it, so both ends prove that they hold the key,
and the calls between them are encrypted (TLS).
"""

import datetime
import os
import pathlib
import stat
import time
from typing import NamedTuple

from absl import logging

NAME = 'serl'  # the certificate's, wherever the learner runs
_YEARS = 30
_POLL_S = 0.2
_LARGEST = 1 << 16  # bytes; a key has some 750
_BEGIN_CERTIFICATE = b'-----BEGIN CERTIFICATE-----'
_BEGIN_KEY = b'-----BEGIN PRIVATE KEY-----'


class KeyFileError(ValueError):
  """The file of a key is absent, open to other users, or no key."""


class Key(NamedTuple):
  """A private key and its certificate, PEM."""

  private: bytes
  certificate: bytes


def path(folder: pathlib.Path) -> pathlib.Path:
  """Returns where a run's folder holds its key."""
  return folder / 'key.pem'


def make(file: pathlib.Path) -> None:
  """Writes a new key, which only this user can read, over one that is there."""
  # Only the launch that makes a key needs it.
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes
  from cryptography.hazmat.primitives import serialization
  from cryptography.hazmat.primitives.asymmetric import ec
  from cryptography.x509 import oid

  private = ec.generate_private_key(ec.SECP256R1())
  name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, NAME)])
  now = datetime.datetime.now(datetime.timezone.utc)
  certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(private.public_key())
    .serial_number(x509.random_serial_number())
    # The clock of the other machine may be behind.
    .not_valid_before(now - datetime.timedelta(days=365))
    .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    .sign(private, hashes.SHA256())
  )
  pem = private.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
  ) + certificate.public_bytes(serialization.Encoding.PEM)
  file.parent.mkdir(parents=True, exist_ok=True)
  temporary = file.with_name(f'.{file.name}.new')
  temporary.unlink(missing_ok=True)
  descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
  with open(descriptor, 'wb') as opened:
    opened.write(pem)
  os.replace(temporary, file)


def wait(file: pathlib.Path, seconds: float) -> None:
  """Waits until a file of a key exists, at most some seconds.

  A learner on the same machine may have been started a moment ago.
  """
  if file.exists():
    return
  logging.info(
    'Waiting up to %.0f s for the learner to make %s.', seconds, file
  )
  end = time.monotonic() + seconds
  while not file.exists() and time.monotonic() < end:
    time.sleep(_POLL_S)


def read(file: pathlib.Path) -> Key:
  """Returns the key in a file.

  Raises:
    KeyFileError: there is none, or others than its owner may read it.
  """
  try:
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
  except FileNotFoundError as error:
    raise KeyFileError(
      f'{file} is not there: the learner of the run makes the key in its run '
      'folder. Copy it from there, readable by you alone (scp -p), or name it '
      'by --key-file.'
    ) from error
  except OSError as error:
    raise KeyFileError(f'{file} cannot be read: {error.strerror}.') from error
  try:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
      raise KeyFileError(f'{file} is no file, expected the key of a run.')
    if mode & 0o077:
      raise KeyFileError(
        f'{file} has the mode {stat.S_IMODE(mode):04o}: other users can read '
        f'the key. Call chmod 600 {file}.'
      )
    pem = os.read(descriptor, _LARGEST)
  finally:
    os.close(descriptor)
  private, begin, certificate = pem.partition(_BEGIN_CERTIFICATE)
  if not begin or not private.startswith(_BEGIN_KEY):
    raise KeyFileError(
      f'{file} holds no private key with its certificate (PEM). Copy key.pem '
      "again from the learner's run folder."
    )
  return Key(private, begin + certificate)
