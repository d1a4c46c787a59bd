"""Projects as ``startproject`` makes them, in folders of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.processes import environment

PLAIN_ASGI = (
    "from django.core.asgi import get_asgi_application\n\napplication = get_asgi_application()\n"
)


def write_project(
    folder: Path, apps: Sequence[str], settings: str, files: Mapping[str, str]
) -> None:
    """Write a project with some apps, further settings, and further files by their paths."""
    folder.mkdir(parents=True)
    django_admin(folder, "startproject", "mysite", ".")
    for app in apps:
        (folder / app).mkdir()
        (folder / app / "__init__.py").touch()
    path = folder / "mysite" / "settings.py"
    path.write_text(f"{path.read_text()}\nINSTALLED_APPS += {list(apps)}\n{settings}")
    for name, text in files.items():
        (folder / name).write_text(text)


def django_admin(folder: Path, *arguments: str) -> None:
    """Run a management command in the folder of a project."""
    is_there = (folder / "mysite").exists()
    settings = {"DJANGO_SETTINGS_MODULE": "mysite.settings"} if is_there else {}
    subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=folder,
        env=environment([folder], **settings),
        stdout=subprocess.DEVNULL,
        check=True,
    )
