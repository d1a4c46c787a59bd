"""Real database servers of the test's own, each in a temporary folder, gone at the end.

    with PostgreSQL() as cluster:
        cluster.serve(project)
        ...
        cluster.restart()

They are reached through sockets in their folders, so that they can't meet another server at its
port. They refuse to run as root, so root runs them as the user that their Debian package makes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.needs import MARIADB, POSTGRESQL, Program
from tests.projects import Project

POLL_SECONDS = 0.02

# Django takes PyMySQL, which needs no compiler, for mysqlclient.
TAKE_PYMYSQL = """
import pymysql

pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()
"""


class ClusterFailed(AssertionError):
    """A database server did not do what the test waits for."""

    def __init__(self, what: str, cluster: Cluster) -> None:
        log = cluster.log.read_text(errors="replace") if cluster.log.exists() else ""
        super().__init__(f"{what}\n--- log of {type(cluster).__name__} ---\n{log}")


class Cluster(ABC):
    """
    Run a database server, as a context manager: entering makes an empty one and starts it.

    `limit` is how many seconds any one wait may take.
    """

    program: Program
    """Its server."""
    owner: str
    """The user that it runs as where the test is run by root."""
    socket_name: str
    """What the socket is called that it listens on."""
    stopped_by: signal.Signals
    """What makes it cut its clients off and stop, as for an administrator."""
    killed_by: signal.Signals
    """What ends all of it at once."""
    counting: str
    """A query for the number of open connections, without the one that asks."""

    def __init__(self, *, limit: float = 60) -> None:
        self.server = self.program.path()
        self.limit = limit
        # Not in pytest's folders: no other user may enter those, and a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log.txt"
        self.socket = self.folder / self.socket_name
        self._owner = pwd.getpwnam(self.owner) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._owner is not None:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)

    def __enter__(self) -> Self:
        try:
            self.make()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    # Its life

    @abstractmethod
    def make(self) -> None:
        """Write an empty database into the folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line of the server, which stays in the foreground."""

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = self._begin(self.command())
        self.until(self._answers, f"{self.program.name} did not come to answer")

    def stop(self) -> None:
        """Stop the server as an administrator does, cutting its clients off."""
        self._end(self.stopped_by)

    def restart(self) -> None:
        """Stop the server and start it anew."""
        self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have the server stand still, with its connections open, for as long as the block lasts."""
        assert self._process is not None
        pids = [self._process.pid]
        # PostgreSQL has a process for each connection.
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server at once and remove its folder."""
        self._end(self.killed_by)
        shutil.rmtree(self.folder, ignore_errors=True)

    # What tests ask of it

    @property
    @abstractmethod
    def database(self) -> dict[str, Any]:
        """The entry in DATABASES that uses it."""

    @abstractmethod
    def connect(self) -> Any:
        """Open a connection, with autocommit."""

    def query(self, sql: str) -> list[Any]:
        """Run a query on a connection of its own and return its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def clients(self) -> int:
        """Count the connections that are open, without that of the question itself."""
        [[count]] = self.query(self.counting)
        return int(count)

    def serve(self, project: Project, **options: Any) -> None:
        """Have a project use this database; `options` are added to its entry in DATABASES."""
        project.settings(DATABASES={"default": {**self.database, **options}})

    def wait_for_clients(self, count: int) -> None:
        """Wait until so many connections are open: a server is late to forget a closed one."""
        self.until(
            lambda: self.clients() == count,
            f"There were not {count} connections open, but {self.clients()}",
        )

    def until(self, look: Callable[[], bool], otherwise: str) -> None:
        """Look again and again until something is true, or raise ClusterFailed with `otherwise`."""
        give_up_at = time.monotonic() + self.limit
        while not look():
            if time.monotonic() > give_up_at:
                raise ClusterFailed(otherwise, self)
            time.sleep(POLL_SECONDS)

    # Processes

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise ClusterFailed(f"{self.program.name} did not start", self)
        try:
            # PyMySQL leaves its socket open where nobody listens.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
            self.query("select 1")
        except OSError:
            return False
        except Exception as error:
            if type(error).__name__ != "OperationalError":
                raise
            return False
        return True

    def _run(self, command: list[str]) -> None:
        code = self._begin(command).wait(self.limit)
        if code:
            raise ClusterFailed(f"{' '.join(command)} ended with {code}", self)

    def _begin(self, command: list[str]) -> subprocess.Popen[bytes]:
        as_owner: dict[str, Any] = {}
        if self._owner is not None:
            as_owner = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl+C is for the test, not for the server.
                start_new_session=True,
                **as_owner,
            )

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(self.limit)
            self._process = None


class PostgreSQL(Cluster):
    """A PostgreSQL cluster; its user is `postgres` and needs no password."""

    program = POSTGRESQL
    owner = "postgres"
    socket_name = ".s.PGSQL.5432"
    stopped_by = signal.SIGINT
    killed_by = signal.SIGQUIT
    counting = (
        "select count(*) from pg_stat_activity"
        " where backend_type = 'client backend' and pid <> pg_backend_pid()"
    )

    def make(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._run([self._tool("initdb"), f"--pgdata={self.data}", "--no-sync", *options])

    def command(self) -> list[str]:
        # Autovacuum would count the rows of a table at any moment, and plans of queries would follow it.
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off"]
        return [self._tool("postgres"), "-D", str(self.data), "-k", str(self.folder), *options]

    @property
    def database(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": str(self.folder),
        }

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname="postgres", autocommit=True
        )

    def _tool(self, name: str) -> str:
        return str(self.server.resolve().parent / name)


class MariaDB(Cluster):
    """A MariaDB server with a database `test`; its user is `root` and needs no password."""

    program = MARIADB
    owner = "mysql"
    socket_name = "socket"
    stopped_by = signal.SIGTERM
    killed_by = signal.SIGKILL
    counting = (
        "select count(*) from information_schema.processlist"
        " where command <> 'Daemon' and id <> connection_id()"
    )

    def make(self) -> None:
        install = shutil.which("mariadb-install-db") or "mysql_install_db"
        options = ["--no-defaults", "--auth-root-authentication-method=normal"]
        self._run([install, *options, f"--datadir={self.data}", *self._own_folder])

    def command(self) -> list[str]:
        files = [f"--datadir={self.data}", f"--socket={self.socket}"]
        # What was committed outlives the server, and need not outlive the machine.
        options = ["--no-defaults", "--skip-networking", "--innodb-flush-log-at-trx-commit=2"]
        return [str(self.server), *options, *files, *self._own_folder]

    @property
    def _own_folder(self) -> list[str]:
        # In a shared one, servers with the same process id take each other's temporary tables.
        return [f"--tmpdir={self.folder}"]

    @property
    def database(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "test",
            "USER": "root",
            "OPTIONS": {"unix_socket": str(self.socket)},
        }

    def serve(self, project: Project, **options: Any) -> None:
        super().serve(project, **options)
        project.settings(TAKE_PYMYSQL)

    def connect(self) -> Any:
        import pymysql  # type: ignore[import-untyped]

        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database="test", autocommit=True
        )


CLUSTERS: dict[str, type[Cluster]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
