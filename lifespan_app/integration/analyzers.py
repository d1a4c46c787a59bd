"""The built-in analyzers: the meaning of common errors of hooks, and what to do.

They know classes by their names, so no other package is imported. This module is imported for the first
failure of a process. The analyzers of databases are in ``database_analyzers``.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lifespan_app import conf
from lifespan_app.engine.analysis import Analysis, built_in
from lifespan_app.engine.error_text import text_of, tracebacks_of
from lifespan_app.engine.errors import LimitPassed

from .addresses import Address, address_of, setting_with
from .database_analyzers import database_host, database_in, database_refuses
from .server import server_of_process

# The network.


@built_in("OSError")
def system(error: OSError) -> Analysis | None:
    """Analyze an error of the operating system, by its number."""
    number = error.errno
    if number == errno.ECONNREFUSED or "Connect call failed" in text_of(error):
        return refused(error)
    known = SYSTEM.get(number or 0)
    return None if known is None else known(error)


def refused(error: BaseException) -> Analysis:
    """Explain that nobody listens at an address."""
    found, setting = place_of(error)
    if (target := database_in(setting)) is not None:
        return database_refuses(target, error)
    start = "Start the service" if found is None else f"Start the service at {found}"
    return Analysis(
        f"Nothing listens at {found or 'the address'}{in_setting(setting)}: the connection was refused.",
        f"{start}, or correct {setting or 'the address that the hook connects to'}. If it starts together "
        "with this process, retry= of the hook waits for it.",
    )


def in_use(error: OSError) -> Analysis:
    """Explain that another process has the port."""
    found = address_of(error)
    at = str(found) if found is not None else named_in(error) or "the address"
    return Analysis(
        f"Another process listens at {at} already.",
        "Stop that process, or choose another port. Each worker of a server runs the hooks: a port that "
        'only one process can have belongs into a hook for service type "server".',
    )


def unreachable(error: OSError) -> Analysis:
    """Explain that there is no way to a host."""
    found, setting = place_of(error)
    return Analysis(
        f"{found or 'The host'} can't be reached{in_setting(setting)}: {error.strerror or 'no answer'}.",
        f"Look at the network and the firewall between this host and that one, or correct "
        f"{setting or 'the address that the hook connects to'}.",
    )


def forbidden(error: OSError) -> Analysis:
    """Explain that the process may not use a file or a port."""
    what = named_in(error)
    who = f"user id {os.geteuid()}" if hasattr(os, "geteuid") else "the user of this process"
    return Analysis(
        f"This process may not use {what or 'a file or a port that the hook asks for'}: {who} lacks the right.",
        "Give that user the right, or choose another path; ports below 1024 are for root on most systems.",
    )


def full(error: OSError) -> Analysis:
    """Explain that there is no space left on a disk."""
    what = named_in(error)
    on = f" of {what}" if what else ""
    return Analysis(
        f"The disk{on} is full, or the quota is used up.", "Free space, or use another folder."
    )


def too_many_files(error: OSError) -> Analysis:
    """Explain that the process has too many open files."""
    return Analysis(
        "This process has as many files and sockets open as it may.",
        "Look for a leak: 'manage.py checklifespan --run' names what is left open. Else raise the limit "
        "(ulimit -n, LimitNOFILE= of systemd).",
    )


def no_memory(error: BaseException) -> Analysis:
    """Explain that there is no memory left."""
    return Analysis(
        "This process got no more memory.",
        "Raise the memory limit of the container or host, run fewer workers, or load less at once.",
    )


def no_file(error: OSError) -> Analysis | None:
    """Explain that a file is missing."""
    what = named_in(error)
    if not what:
        return None
    return Analysis(
        f"There is no {what}; the working folder is {working_folder()}.",
        "Create it, or correct the path: a relative one starts at the working folder.",
    )


def named_in(error: OSError) -> str:
    """Return the file that an error names."""
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) else ""


def working_folder() -> str:
    """Return the working folder, or what has happened to it."""
    try:
        return str(Path.cwd())
    except OSError:
        return "gone"


def place_of(error: BaseException) -> tuple[Address | None, str]:
    """Return the address that an error is about, and the setting that holds it."""
    found = address_of(error)
    return found, "" if found is None else setting_with(found)


def in_setting(setting: str) -> str:
    """Return a setting in parentheses."""
    return f" ({setting})" if setting else ""


SYSTEM: dict[int, Callable[[Any], Analysis | None]] = {
    errno.EADDRINUSE: in_use,
    errno.EHOSTUNREACH: unreachable,
    errno.ENETUNREACH: unreachable,
    errno.ETIMEDOUT: unreachable,
    errno.EACCES: forbidden,
    errno.EPERM: forbidden,
    errno.ENOSPC: full,
    errno.EDQUOT: full,
    errno.EMFILE: too_many_files,
    errno.ENFILE: too_many_files,
    errno.ENOMEM: no_memory,
    errno.ENOENT: no_file,
}


@built_in("socket.gaierror")
def unresolved(error: OSError) -> Analysis:
    """Explain that the name of a host is not known."""
    found, setting = place_of(error)
    if (target := database_in(setting)) is not None:
        return database_host(target, error)
    host = f"'{found.host}'" if found is not None else "that the hook connects to"
    return Analysis(
        f"The host {host} can't be resolved{in_setting(setting)}: the name is wrong, or no name server knows it.",
        f"Correct {setting or 'the name'}, or look at the name resolution of this machine; in a container, at "
        "its network.",
    )


CERTIFICATES = {
    10: "its certificate has expired",
    18: "its certificate is signed by itself",
    19: "its certificates are signed by an authority that this machine does not trust",
    20: "its certificate is signed by an authority that this machine does not trust",
    62: "its certificate is for another host",
    64: "its certificate is for another host",
}
"""Reasons by the codes of OpenSSL: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/"""


@built_in("ssl.SSLError")
def tls(error: ssl.SSLError) -> Analysis:
    """Explain that a secure connection could not be made."""
    found, setting = place_of(error)
    who = f"The server at {found}" if found is not None else "The server"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = CERTIFICATES.get(error.verify_code, error.verify_message or "it can't be verified")
        return Analysis(
            f"{who} can't be trusted{in_setting(setting)}: {reason}.",
            "Correct the certificate, the name that is connected to, or the certificates that are trusted "
            "(SSL_CERT_FILE). Don't turn the verification off.",
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return Analysis(
            f"{who} does not speak TLS{in_setting(setting)}.",
            "Connect without TLS, or to the port for TLS: http:// in place of https://, redis:// in place of "
            "rediss://.",
        )
    return Analysis(
        f"{who} does not agree on a TLS connection{in_setting(setting)}: {error.reason or text_of(error)}.",
        "Compare the TLS versions, the ciphers and the certificates that both sides accept.",
    )


@built_in(
    "aiohttp.ServerTimeoutError",
    "httpx.TimeoutException",
    "redis.exceptions.TimeoutError",
    "requests.exceptions.Timeout",
)
def no_answer(error: BaseException) -> Analysis:
    """Explain that a service does not answer in time."""
    found, setting = place_of(error)
    return Analysis(
        f"{found or 'The service'} does not answer in time{in_setting(setting)}.",
        "Look whether it is overloaded, and whether a firewall drops the packets; else raise the client's "
        "own time limit.",
    )


@built_in("redis.exceptions.AuthenticationError", "redis.exceptions.NoPermissionError")
def redis_password(error: BaseException) -> Analysis:
    """Explain that Redis refuses the user."""
    found, setting = place_of(error)
    return Analysis(
        f"Redis{'' if found is None else f' at {found}'} refuses the user{in_setting(setting)}: user or password is "
        "missing or wrong.",
        f"Correct user and password in {setting or 'the address that the hook connects to'}.",
    )


# The process itself.


@built_in("MemoryError")
def memory(error: MemoryError) -> Analysis:
    """Explain that there is no memory left."""
    return no_memory(error)


@built_in("ModuleNotFoundError")
def no_module(error: ModuleNotFoundError) -> Analysis | None:
    """Explain that a module is missing."""
    name = error.name
    if not name:
        return None
    parent, _, _ = name.rpartition(".")
    top = name.partition(".")[0]
    if parent and (top in sys.modules or is_there(top)):
        return Analysis(
            f"The package '{top}' has no module '{name}' here.",
            f"Correct the import, or install the version of '{top}' that has it.",
        )
    return Analysis(
        f"The module '{name}' is not installed for {sys.executable or 'this Python'}.",
        f"Install the package that has it, or start the process with the Python that has it; '{name}' may "
        "also be misspelt.",
    )


def is_there(module: str) -> bool:
    """Return True if a module could be imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@built_in("KeyError")
def no_variable(error: KeyError) -> Analysis | None:
    """Explain that an environment variable is missing: ``os.environ["NAME"]``."""
    for entry in tracebacks_of(error):
        code = entry.tb_frame.f_code
        if code.co_name == "__getitem__" and code is type(os.environ).__getitem__.__code__:
            # The mapping inside of os.environ has bytes.
            name = error.args[0] if error.args else ""
            return without_variable(os.fsdecode(name))
    return None


VARIABLE = re.compile(
    r"[Ss]et the (\w+) environment variable|[Ee]nvironment variable \"?(\w+)\"? (?:is )?not set"
    r"|^(\w+) not found\. Declare it as envvar"
)


@built_in(
    "decouple.UndefinedValueError",
    "django.core.exceptions.ImproperlyConfigured",
    "environs.EnvError",
)
def no_setting(error: BaseException) -> Analysis | None:
    """Explain that a library for settings has not found an environment variable."""
    found = VARIABLE.search(text_of(error))
    return None if found is None else without_variable(next(filter(None, found.groups())))


def without_variable(name: str) -> Analysis:
    """Return the analysis of a missing environment variable."""
    return Analysis(
        f"The environment variable {name} is not set in this process.",
        f"Set {name} where the process is started: in the unit of systemd, the container, or the .env file "
        "that is loaded there.",
    )


@built_in("django.core.exceptions.SynchronousOnlyOperation")
def orm_in_async(error: BaseException) -> Analysis:
    """Explain that the ORM was called on the event loop."""
    return Analysis(
        "An async hook calls Django's ORM, or other sync code of Django, without await.",
        "Await it, as in 'await Book.objects.acount()', or write the hook as a plain 'def': it then runs in "
        "a thread.",
    )


OTHER_LOOP = ("attached to a different loop", "bound to a different event loop")


@built_in("RuntimeError")
def wrong_loop(error: RuntimeError) -> Analysis | None:
    """Explain that an object of another event loop was used."""
    text = text_of(error)
    if any(part in text for part in OTHER_LOOP):
        return Analysis(
            "An object of asyncio belongs to another event loop: it was made at import time, or in another "
            "thread or test.",
            "Make it in a resource, so that it belongs to the loop of this run.",
        )
    if text == "Event loop is closed":
        return Analysis(
            "An object of asyncio belongs to an event loop that has ended.",
            "Make it in a resource, so that it belongs to the loop of this run and is closed with it.",
        )
    return None


SERVERS = {
    "gunicorn": "gunicorn's own ASGI worker gives a startup up after 30 s, which no option changes.",
    "hypercorn": "hypercorn itself gives a startup up after its startup_timeout, 60 s by default: raise that, "
    "too.",
    "uvicorn": "uvicorn itself has no limit.",
    "granian": "granian itself has no limit.",
}
"""The limits of servers on a startup (gunicorn 27, gunicorn/workers/gasgi.py; hypercorn 0.18, config.py)."""


@built_in("lifespan_app.engine.errors.LimitPassed")
def limit_passed(error: LimitPassed) -> Analysis:
    """Explain that a time limit has passed; the server may have one, too."""
    if not error.server_waits:
        return Analysis(error.cause, error.action)
    platform = conf.get("PLATFORM").get("startup")
    name = (server_of_process() or "").partition(" ")[0]
    if name == "gunicorn" and "uvicorn.server" in sys.modules:
        name = "uvicorn"
    server = SERVERS.get(name, "")
    if platform is not None:
        server = f"The platform gives a startup up after {platform} s ({conf.SETTING}['PLATFORM']['startup'])."
    return Analysis(error.cause, f"{error.action} {server}".strip())
