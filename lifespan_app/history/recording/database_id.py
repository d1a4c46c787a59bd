"""What the history's database is known by in a folder that projects and containers may share.

It is known by what it is, and not by how the settings are written: an SQLite file by its file system
and its number there, whatever path leads to it; a server's database by the server's address and its
name, whatever the alias is.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import connections

from lifespan_app import conf

SQLITE = "sqlite"

USUAL_PORTS = {"postgresql": "5432", "mysql": "3306", "oracle": "1521"}

ADDRESS_OPTIONS = ("database", "db", "dbname", "host", "hostaddr", "port", "service", "unix_socket")
"""Keys of ``OPTIONS`` that say where a database is."""


def database_ids() -> tuple[str, ...]:
    """Return what the database is known by; the first one is how it is known today.

    The second one is that of an SQLite file from before it was there: its path, which may lead to
    another file in another container.
    """
    alias = conf.get("HISTORY_DATABASE")
    entry: Mapping[str, Any] = connections.settings.get(alias, {})
    if not entry:
        return (_hashed("no database", alias),)
    vendor = _vendor(alias, entry)
    if vendor != SQLITE:
        return (_hashed(vendor, *_address(vendor, entry)),)
    path = Path(_path(str(entry.get("NAME", "")))).resolve()
    by_path = _hashed(SQLITE, str(path))
    try:
        number, system = path.stat().st_ino, os.statvfs(path).f_fsid
    except OSError:
        return (by_path,)
    # st_dev would not do: that of a container's file system changes with each of its restarts.
    return (_hashed(SQLITE, str(system), str(number)), by_path)


def project_id() -> str:
    """Return what this project is known by: its settings module, and where that is."""
    name = str(getattr(settings, "SETTINGS_MODULE", "") or "")
    return _hashed(name, str(getattr(sys.modules.get(name), "__file__", "")))


def _vendor(alias: str, entry: Mapping[str, Any]) -> str:
    """Return what kind of database it is: several engines stand for one kind."""
    try:
        return str(connections[alias].vendor)
    except Exception:  # its driver may be missing
        return str(entry.get("ENGINE", "")).rpartition(".")[2]


def _address(vendor: str, entry: Mapping[str, Any]) -> list[str]:
    """Return where a server's database is."""
    port = str(entry.get("PORT") or USUAL_PORTS.get(vendor, ""))
    options = entry.get("OPTIONS") or {}
    further = [f"{key}={options[key]}" for key in ADDRESS_OPTIONS if options.get(key)]
    return [str(entry.get("HOST", "")).lower(), port, str(entry.get("NAME", "")), *further]


def _path(name: str) -> str:
    """Return the path that SQLite opens for a name, which may be a URI."""
    return unquote(urlsplit(name).path) if name.startswith("file:") else name


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
