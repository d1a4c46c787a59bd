"""Children of the test's own process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any


def in_a_fork(function: Callable[[], Any]) -> str:
    """Return what a function raises in a child of this process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of a fork beside threads, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        said = "nothing raised"
        try:
            function()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
