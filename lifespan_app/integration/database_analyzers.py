"""The built-in analyzers of databases: the meaning of their errors, and what to do.

Errors are known by code or text, so no driver is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from lifespan_app.engine.analysis import Analysis, built_in
from lifespan_app.engine.error_text import path_of, text_of, tracebacks_of

from .addresses import Address, address_of, setting_with
from .database_codes import code_of


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
    # PostgreSQL
    "3D000": UNKNOWN_DATABASE,
    "28P01": PASSWORD,
    "28000": PASSWORD,
    "53300": TOO_MANY,
    "42P01": MISSING,
    "42703": MISSING,
    "42501": DENIED,
    "53100": FULL,
    "57P03": STARTING,
    # MariaDB
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
    if (known := CODES.get(code_of(error))) is not None:
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
