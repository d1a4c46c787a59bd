"""Fresh processes that take turns."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parent.parent


def race(samples: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """
    Take one sample of each in every round, in another order each round.

    A round before them is not counted: it compiles modules, and reads files from the disk.
    """
    order = random.Random(1)
    names = list(samples)
    taken: dict[str, list[T]] = {name: [] for name in names}
    for _ in range(turns(rounds)):
        order.shuffle(names)
        for name in names:
            taken[name].append(samples[name]())
    return {name: each[-rounds:] for name, each in taken.items()}


def turns(rounds: int) -> int:
    """Return how often each sample is taken. One round alone only shows that everything runs."""
    return rounds + 1 if rounds > 1 else 1


def environment(path: Iterable[Path] = (), **variables: str) -> dict[str, str]:
    """Return an environment in which compiled modules are kept, with folders to import from."""
    folders = [*map(str, path), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    inherited = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, folders)), **variables}


_LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "DJANGO_SETTINGS_MODULE")


def answer(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Any:
    """Run Python with arguments. Return the JSON that it has printed in its last line."""
    run = subprocess.run(
        [sys.executable, *arguments],
        env=env or environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def processor_ms(
    arguments: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> float:
    """Run Python with arguments. Return the processor's milliseconds of the whole process."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=env or environment(),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{arguments} has failed: {said.decode()}")
    return (usage.ru_utime + usage.ru_stime) * 1000
