"""The Python that a page of docs shows, and how a test runs it."""

import pathlib
import re
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parent.parent


def read(page: str) -> str:
  """Returns the text of a page, by its path in the project."""
  return (_ROOT / page).read_text()


def blocks(page: str) -> list[str]:
  """Returns the Python blocks of a page, by its path in the project."""
  return re.findall(r'```python\n(.*?)```', read(page), re.DOTALL)


def run(code: str, folder: pathlib.Path) -> subprocess.CompletedProcess:
  """Runs `code` as a program in `folder`, and expects it to succeed."""
  script = folder / 'script.py'
  script.write_text(code)
  done = subprocess.run(
    [sys.executable, script],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  return done
