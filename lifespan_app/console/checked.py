"""What ``manage.py checklifespan`` finds, before it is shown: plans, and their problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from lifespan_app import checks, conf, discovery
from lifespan_app.checks.plans import draft, of_plan
from lifespan_app.default import lifespan

from .page import Shortener
from .plans import ShownPlan, shown
from .problems import Problem, gathered, problem_of

ALL = "all"

OF_THE_PROJECT = (
    checks.check_broken_modules,
    checks.check_keys,
    checks.check_types,
    checks.check_config_file,
    checks.check_drain,
    checks.check_patched_threads,
    checks.check_hook_names,
    checks.check_middleware,
    checks.check_lonely_module,
    checks.check_silent_modules,
    checks.check_history_database,
    checks.check_logger,
    checks.check_spool,
)


class Checked(NamedTuple):
    """The plans that were asked for, and everything that is wrong."""

    plans: tuple[ShownPlan, ...]
    problems: tuple[Problem, ...]
    """The gravest first."""
    excluded: tuple[str, ...]
    """The labels of the apps whose ``lifespan.py`` was left alone."""

    def at_or_over(self, level: int) -> list[Problem]:
        """Return the problems of a level, a number as in ``logging``, and of graver ones."""
        return [problem for problem in self.problems if problem.severity >= level]


def check(service_type: str | None = None, asgi: str | None = None) -> Checked:
    """Look for everything that is wrong, and run nothing.

    Args:
        service_type: whose plan; None: that of the settings; ``all``: of each one that is named.
        asgi: where the ASGI application is; None: as the settings say.

    Raises:
        LookupError: there is no application at ``asgi``.
    """
    short = Shortener()
    plans = []
    problems = [
        problem_of(message, "", short) for check in OF_THE_PROJECT for message in audible(check())
    ]
    try:
        settings = lifespan.host.settings()
    except ImproperlyConfigured:
        # Which plan it is stands there too; what is wrong has been said.
        settings = None
    if settings is not None:
        for name in service_types(service_type, settings.service_type):
            plan, wrong = draft(settings, name)
            complete = not wrong and not lifespan.broken
            plans.append(shown(plan, settings, complete=complete))
            said = () if lifespan.broken else of_plan(settings, plan, wrong)
            problems += (problem_of(message, name, short) for message in audible(said))
        if asgi or settings.service_type in [plan.service_type for plan in plans]:
            said = checks.of_application(asgi)
            problems += (problem_of(message, "", short) for message in audible(said))
        problems += (problem_of(message, "", short) for message in audible(checks.of_history()))
    return Checked(tuple(plans), tuple(gathered(problems)), tuple(discovery.excluded))


def audible(messages: Iterable[CheckMessage]) -> Iterator[CheckMessage]:
    """Yield the messages that SILENCED_SYSTEM_CHECKS does not name."""
    return (message for message in messages if not message.is_silenced())


def service_types(asked: str | None, default: str) -> Sequence[str]:
    """Return the service types that are asked for, the default one first."""
    if asked != ALL:
        return [asked or default]
    return [default, *(name for name in named() if name != default)]


def named() -> list[str]:
    """Return the service types that hooks name, sorted."""
    return sorted({name for hook in lifespan.hooks for name in hook.service_types or ()})


def known() -> list[str]:
    """Return the service types that are no mistake: the usual ones, and those of this project."""
    from lifespan_app.engine.context import ServiceType

    own = [] if any(conf.wrong_types()) else [str(conf.get("SERVICE_TYPE"))]
    return sorted({ALL, *own, *named(), *map(str, ServiceType)})
