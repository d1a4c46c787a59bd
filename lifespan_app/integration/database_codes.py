"""The codes of database errors: a server may write its messages in any language.

PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html.
MariaDB: https://mariadb.com/docs/server/reference/error-codes.
"""

from __future__ import annotations


def code_of(error: BaseException) -> str | int | None:
    """Return the code of an error of a driver, or of Django's error for it; None without one.

    It is a text of five characters from PostgreSQL, a number from MariaDB and MySQL.
    """
    first = error.args[0] if error.args else None
    if isinstance(first, int):
        # PyMySQL's errors have the standard's state, too, which is the same for many codes.
        return first
    for one in (error, error.__cause__):
        # The names of psycopg and asyncpg, and of psycopg2.
        code = getattr(one, "sqlstate", None) or getattr(one, "pgcode", None)
        if isinstance(code, str):
            return code
    return None
