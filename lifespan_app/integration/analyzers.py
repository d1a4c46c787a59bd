"""The built-in analyzers: what common errors of hooks mean, and what to do.

They know classes by their names, and errors of databases by code or text, so no driver is imported. This
module is imported for the first failure of a process.
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
from typing import Any, NamedTuple, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from lifespan_app import conf
from lifespan_app.engine.analysis import Analysis, built_in
from lifespan_app.engine.error_text import path_of, text_of, tracebacks_of
from lifespan_app.engine.errors import LimitPassed

from .addresses import Address, address_of, setting_with
from .server import server_of_process

# Databases.


class Target(NamedTuple):
    """A database as sentences name it."""

    name: str
    """PostgreSQL, or what it is."""
    setting: str
    """The entry of DATABASES; empty if the connection is not Django's."""
    address: str
    """Host and port, socket or file; empty if it is unknown."""

    @property
    def at(self) -> str:
        """The database with its address."""
        return f"{self.name} at {self.address}" if self.address else self.name

    @property
    def where(self) -> str:
        """The setting, behind a name."""
        return f" of {self.setting}" if self.setting else ""


NAMES = {
    "asyncpg": "PostgreSQL",
    "psycopg": "PostgreSQL",
    "psycopg2": "PostgreSQL",
    "psycopg_pool": "PostgreSQL",
    "sqlite3": "SQLite",
    "pymysql": "MySQL or MariaDB",
    "MySQLdb": "MySQL or MariaDB",
    "mysql": "MySQL or MariaDB",
    "oracledb": "Oracle",
}
"""The database of each driver."""

ENGINES = {
    "postgresql": "PostgreSQL",
    "postgis": "PostgreSQL",
    "mysql": "MySQL or MariaDB",
    "sqlite3": "SQLite",
    "oracle": "Oracle",
}

DEFAULT_PORTS = {"PostgreSQL": 5432, "MySQL or MariaDB": 3306, "Oracle": 1521}

REFUSED, UNKNOWN_HOST, UNKNOWN_DATABASE, PASSWORD, TOO_MANY = (
    "refused",
    "host",
    "name",
    "pw",
    "many",
)
MISSING, DENIED, FULL, LOCKED, STARTING, SILENT = (
    "missing",
    "denied",
    "full",
    "locked",
    "wait",
    "time",
)

CODES: dict[object, str] = {
    # PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
    "3D000": UNKNOWN_DATABASE,
    "28P01": PASSWORD,
    "28000": PASSWORD,
    "53300": TOO_MANY,
    "42P01": MISSING,
    "42703": MISSING,
    "42501": DENIED,
    "53100": FULL,
    "57P03": STARTING,
    # MariaDB: https://mariadb.com/docs/server/reference/error-codes
    1049: UNKNOWN_DATABASE,
    1045: PASSWORD,
    1698: PASSWORD,
    1040: TOO_MANY,
    1203: TOO_MANY,
    1146: MISSING,
    1054: MISSING,
    1044: DENIED,
    1142: DENIED,
    1021: FULL,
    1114: FULL,
    1205: LOCKED,
    2005: UNKNOWN_HOST,
}

TEXTS = (
    (
        UNKNOWN_HOST,
        r"(?:translate host name|resolve host|name or service not known|unknown mysql server)",
    ),
    (UNKNOWN_HOST, r"(?:name resolution|nodename nor servname)"),
    (STARTING, r"database system is (?:starting up|shutting down|in recovery)"),
    (UNKNOWN_DATABASE, r"database \"[^\"]*\" does not exist|unknown database|open database file"),
    (
        PASSWORD,
        r"(?:password authentication failed|no password supplied|using password: |access denied for user)",
    ),
    (PASSWORD, r"role \"[^\"]*\" does not exist|no pg_hba\.conf entry|authentication failed"),
    (
        TOO_MANY,
        r"too many (?:clients|connections)|remaining connection slots|couldn't get a connection",
    ),
    (MISSING, r"relation \"[^\"]*\" does not exist|no such (?:table|column)|has no column"),
    (
        MISSING,
        r"table '[^']*' doesn't exist|unknown column|column \S+ (?:of relation \S+ )?does not exist",
    ),
    (
        DENIED,
        r"(?:permission denied for|command denied to|readonly database|read-only transaction)",
    ),
    (FULL, r"no space left|disk (?:is )?full|table is full"),
    (LOCKED, r"database (?:table )?is locked|lock wait timeout"),
    (SILENT, r"(?:timeout expired|timed out)"),
    (
        REFUSED,
        r"(?:connection refused|can't connect to|connect call failed|no such file or directory)",
    ),
)
"""Parts of the texts of errors without a code, such as those before a connection is open."""

IN_QUOTES = re.compile(r"[\"'`]([^\"'`]+)[\"'`]")
TABLE = re.compile(
    r"relation \"([^\"]+)\"|table '([^']+)' doesn't|no such table: (\S+)|column (\S+?) does not"
    r"|unknown column '([^']+)'|no such column: (\S+)|column (\S+) of relation|named (\S+)",
    re.IGNORECASE,
)


@built_in(
    "asyncpg.exceptions._base.PostgresError",
    "django.db.utils.Error",
    "MySQLdb.Error",
    "oracledb.exceptions.Error",
    "psycopg.Error",
    "psycopg2.Error",
    "pymysql.err.Error",
    "sqlite3.Error",
)
def database(error: BaseException) -> Analysis | None:
    """Analyze an error of a database."""
    kind = kind_of(error)
    return None if kind is None else DATABASE[kind](target_of(error), error)


def kind_of(error: BaseException) -> str | None:
    """Return the kind of a database error, or None if it is unknown."""
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    arguments = error.args
    if code is None and arguments and isinstance(arguments[0], int):
        code = arguments[0]
    if (known := CODES.get(code)) is not None:
        return known
    text = text_of(error).lower()
    return next((kind for kind, pattern in TEXTS if re.search(pattern, text)), None)


def target_of(error: BaseException) -> Target:
    """Return the database that an error is of: Django's connection is in one of the frames."""
    for entry in tracebacks_of(error):
        owner = entry.tb_frame.f_locals.get("self")
        owner = getattr(owner, "db", owner) if class_name_of(owner) in CURSORS else owner
        # Not isinstance: a lazy object in a frame would be made by that.
        if issubclass(type(owner), BaseDatabaseWrapper):
            return target_in(cast("BaseDatabaseWrapper", owner))
    driver = path_of(type(error)).partition(".")[0]
    found = address_of(error)
    setting = "" if found is None else setting_with(found)
    return Target(NAMES.get(driver, "The database"), setting, "" if found is None else str(found))


CURSORS = frozenset({"CursorWrapper", "CursorDebugWrapper"})


def class_name_of(value: object) -> str:
    """Return the name of a value's class."""
    return type(value).__name__


def target_in(connection: BaseDatabaseWrapper) -> Target:
    """Return the database of one of Django's connections."""
    settings = connection.settings_dict
    engine = str(settings.get("ENGINE", "")).rpartition(".")[2]
    # Not display_name: that of MySQL asks the server.
    name = ENGINES.get(engine, str(connection.vendor))
    host, port = str(settings.get("HOST") or ""), str(settings.get("PORT") or "")
    if name == "SQLite":
        address = str(settings.get("NAME") or "")
    elif host.startswith("/"):
        address = host
    else:
        default = DEFAULT_PORTS.get(name, 0)
        address = str(Address(host or "localhost", int(port) if port.isdigit() else default))
        if not host and name == "PostgreSQL":
            address = "its local socket"
    return Target(name, f"DATABASES['{connection.alias}']", address)


def database_in(setting: str) -> Target | None:
    """Return the database of an entry of DATABASES, or None if a setting is none."""
    found = re.fullmatch(r"DATABASES\['(.+)'\]", setting)
    return None if found is None else target_in(connections[found[1]])


def quoted_in(error: BaseException) -> str:
    """Return the first name in quotes of a text, in quotes."""
    last = error.args[-1] if error.args else ""
    text = last if isinstance(last, str) else text_of(error)
    # Before this word, PostgreSQL's library names the address.
    found = IN_QUOTES.search(text.rpartition("FATAL")[2])
    return f" '{found[1]}'" if found else ""


def database_refuses(target: Target, error: BaseException) -> Analysis:
    """Explain that nobody listens at the address."""
    return Analysis(
        f"{target.at} refuses connections{holds(target)}: no server listens there.",
        f"Start the server, or correct {or_the(target, 'HOST and PORT')}. If the database starts together "
        "with this process, retry= of the hook waits for it.",
    )


def database_host(target: Target, error: BaseException) -> Analysis:
    """Explain that the host has no address."""
    return Analysis(
        f"The host of {target.at} can't be resolved{holds(target)}: the name is wrong, or no name server "
        "knows it.",
        f"Correct {or_the(target, 'HOST')}, or look at the name resolution of this machine.",
    )


def database_name(target: Target, error: BaseException) -> Analysis:
    """Explain that there is no such database."""
    if target.name == "SQLite":
        return Analysis(
            f"The SQLite file {target.address} can't be opened{holds(target)}: its folder is missing, or this "
            "process may not write to it.",
            f"Create the folder, or correct {or_the(target, 'NAME')}.",
        )
    return Analysis(
        f"{target.at} has no database{quoted_in(error)}{holds(target)}.",
        f"Create it, or correct {or_the(target, 'NAME')}.",
    )


def database_password(target: Target, error: BaseException) -> Analysis:
    """Explain that the user or the password is wrong."""
    return Analysis(
        f"{target.at} refuses the user{quoted_in(error)}{holds(target)}: user or password is wrong, or the "
        "user may not connect from here.",
        f"Correct {or_the(target, 'USER and PASSWORD')}, and look at the rights of that user.",
    )


def database_too_many(target: Target, error: BaseException) -> Analysis:
    """Explain that all connections are in use."""
    return Analysis(
        f"{target.at} has no free connection{holds(target)}: as many as it allows are open.",
        "Run fewer workers, use a smaller pool or a lower CONN_MAX_AGE, or raise the limit of the server "
        "(max_connections).",
    )


def database_missing(target: Target, error: BaseException) -> Analysis:
    """Explain that a table or a column is missing."""
    found = TABLE.search(text_of(error))
    name = next((name for name in (found.groups() if found else ()) if name), "")
    named = name.strip("\"'.,")
    what = f"'{named}'" if named else "a table or a column"
    alias = re.search(r"'(.+)'", target.setting)
    option = f" --database {alias[1]}" if alias and alias[1] != "default" else ""
    return Analysis(
        f"{target.at} has no {'table or column ' if named else ''}{what}{holds(target)}: {NOT_MIGRATED}, or "
        "it is another database than you expect.",
        f"Run 'manage.py migrate{option}' before the process starts; 'manage.py showmigrations --plan' lists "
        "what is missing.",
    )


NOT_MIGRATED = "a migration is not applied there"


def is_about_migrations(cause: str) -> bool:
    """Return True if a cause by one of these analyzers is a missing table or column."""
    return NOT_MIGRATED in cause


def database_denied(target: Target, error: BaseException) -> Analysis:
    """Explain that the user may not do that."""
    return Analysis(
        f"The database user may not do that in {target.at}{holds(target)}.",
        f"Grant the right to the user, or correct {or_the(target, 'USER')}.",
    )


def database_full(target: Target, error: BaseException) -> Analysis:
    """Explain that there is no space left."""
    return Analysis(
        f"The disk of {target.at} is full{holds(target)}.", "Free space there, or enlarge the disk."
    )


def database_locked(target: Target, error: BaseException) -> Analysis:
    """Explain that another process holds the lock."""
    return Analysis(
        f"Another process holds a lock in {target.at} for longer than this one waits{holds(target)}.",
        "Find the process with the long transaction. SQLite allows one writer at a time: use PostgreSQL or "
        "MariaDB for several processes that write.",
    )


def database_starting(target: Target, error: BaseException) -> Analysis:
    """Explain that the server is starting or stopping."""
    return Analysis(
        f"{target.at} is starting up or shutting down{holds(target)}, and takes no connections yet.",
        "Wait until it is up: retry= of the hook tries again.",
    )


def database_silent(target: Target, error: BaseException) -> Analysis:
    """Explain that there is no answer."""
    return Analysis(
        f"{target.at} does not answer in time{holds(target)}.",
        f"Look whether it is overloaded, and whether a firewall drops the packets; else correct "
        f"{or_the(target, 'HOST and PORT')}.",
    )


def holds(target: Target) -> str:
    """Return the setting that a connection was made with, in parentheses."""
    return f" ({target.setting})" if target.setting else ""


def or_the(target: Target, keys: str) -> str:
    """Return the keys of the setting to correct."""
    if target.setting.startswith("DATABASES"):
        return f"{keys} in {target.setting}"
    if target.setting:
        return target.setting
    return "the address that the hook connects with"


DATABASE: dict[str, Callable[[Target, BaseException], Analysis]] = {
    REFUSED: database_refuses,
    UNKNOWN_HOST: database_host,
    UNKNOWN_DATABASE: database_name,
    PASSWORD: database_password,
    TOO_MANY: database_too_many,
    MISSING: database_missing,
    DENIED: database_denied,
    FULL: database_full,
    LOCKED: database_locked,
    STARTING: database_starting,
    SILENT: database_silent,
}

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
