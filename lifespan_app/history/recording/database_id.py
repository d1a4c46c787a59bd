"""The identity of the history's database, in a folder that projects and containers may share.

It does not depend on the spelling of the settings: an SQLite file is identified by file system and
inode, a server's database by the server's address and the database name.
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
"""Keys of ``OPTIONS`` that are part of a database's address."""


def database_ids() -> tuple[str, ...]:
    """Return the identifiers of the database, the current one first.

    The second one is the path of an SQLite file, used before the file existed. The same path may be
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
    # Not st_dev: with a container's overlay file system it changes at each restart.
    return (_hashed(SQLITE, str(system), str(number)), by_path)


def project_id() -> str:
    """Return the identifier of this project: a hash of the name and file of its settings module."""
    name = str(getattr(settings, "SETTINGS_MODULE", "") or "")
    return _hashed(name, str(getattr(sys.modules.get(name), "__file__", "")))


def _vendor(alias: str, entry: Mapping[str, Any]) -> str:
    """Return the vendor of the database; several engines share one."""
    try:
        return str(connections[alias].vendor)
    except Exception:  # its driver may be missing
        return str(entry.get("ENGINE", "")).rpartition(".")[2]


def _address(vendor: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the address of a server's database."""
    port = str(entry.get("PORT") or USUAL_PORTS.get(vendor, ""))
    options = entry.get("OPTIONS") or {}
    further = [f"{key}={options[key]}" for key in ADDRESS_OPTIONS if options.get(key)]
    return [str(entry.get("HOST", "")).lower(), port, str(entry.get("NAME", "")), *further]


def _path(name: str) -> str:
    """Return the path that SQLite opens for a name, which may be a URI."""
    return unquote(urlsplit(name).path) if name.startswith("file:") else name


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
