"""How many examples a test tries, and texts that break things."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some

FACTOR_VARIABLE = "LIFESPAN_TEST_EXAMPLES"
"""The environment variable by which ``make torture`` multiplies the examples."""

QUICK = 0.25
"""The factor of ``make test``, which has to be fast."""

FACTOR = float(os.environ.get(FACTOR_VARIABLE, QUICK))

HOSTILE = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[31mred\x1b]0;title\x07",
    "\r\nSet-Cookie: a=b",
    "\ud800",
    "\udcff\udcfe",
    "\u202eabc\u202c",
    "\ufeff",
    "\U0010ffff",
    "'; DROP TABLE lifespan_app_lifespanrun; --",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}{% debug %}",
    "%s %d %(name)s {0} {name}",
    "../../../../no/such/file",
    "/dev/null/x",
    "-1",
    "0",
    "1e400",
    "nan",
    "inf",
    "9" * 30,
    "9" * 5_000,
    "²",
    "٣",
    "x" * 10_000,
    "a=b=c",
    "=",
    ",,,",
    "--help",
    "-",
    "__class__.__init__",
)
"""Texts that have broken programs: control characters, halves of characters, huge numbers, markup."""

any_text = some.text(some.characters(), max_size=30)
"""Any characters, halves of surrogate pairs included."""

texts = some.sampled_from(HOSTILE) | any_text


def examples(number: int) -> settings:
    """Return the settings of a test that tries so many examples, times the factor."""
    return settings(
        max_examples=max(5, round(number * FACTOR)),
        deadline=None,
        derandomize=FACTOR == QUICK,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.large_base_example,
            HealthCheck.data_too_large,
        ],
    )
