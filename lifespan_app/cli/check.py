"""Plans and their problems, for ``manage.py checklifespan`` without ``--run``."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from lifespan_app import conf
from lifespan_app.checks import system_checks
from lifespan_app.checks.plans import draft, plan_messages
from lifespan_app.engine.wording import count, did_you_mean
from lifespan_app.integration import autodiscover
from lifespan_app.integration.default import lifespan

from . import as_json, graphs
from .command import BAD_ARGUMENT, FAILED, CommandWithExitCodes
from .plans import PlanText, ShownPlan, shown
from .problems import Found, gathered, problem_lines
from .terminal import folded, printable, width_of_page

ALL = "all"

OF_A_PLAN = (system_checks.check_plan, system_checks.check_application)
"""Checks that ``check`` makes itself, of the requested plans and application."""


class Checked(NamedTuple):
    """The requested plans, and all problems."""

    plans: tuple[ShownPlan, ...]
    problems: tuple[Found, ...]
    """Highest level first."""
    excluded: tuple[str, ...]
    """Labels of the apps that ``AUTODISCOVER`` excludes."""

    @property
    def can_run(self) -> bool:
        """Return True if every plan can be opened."""
        return bool(self.plans) and all(plan.complete for plan in self.plans)


def check(service_type: str | None = None, asgi: str | None = None) -> Checked:
    """Return plans and problems. No hook is called.

    Args:
        service_type: the service type of the plan; None: that of the settings; ``all``: every one.
        asgi: the path of the ASGI application; None: that of the settings.

    Raises:
        LookupError: there is no application at ``asgi``.
    """
    plans = []
    problems = [
        Found(message)
        for check in system_checks.REGISTERED
        if check not in OF_A_PLAN
        for message in audible(check())
    ]
    try:
        settings = lifespan.adapter.settings()
    except ImproperlyConfigured:
        # check_types has reported it. The service type of the plan is unknown.
        settings = None
    if settings is not None:
        for name in service_types(service_type, settings.service_type):
            plan, wrong = draft(settings, name)
            complete = not wrong and not lifespan.broken
            plans.append(shown(plan, settings, complete=complete))
            said = () if lifespan.broken else plan_messages(settings, plan, wrong)
            problems += (Found(message, (name,)) for message in audible(said))
        if asgi or settings.service_type in [plan.service_type for plan in plans]:
            problems += map(Found, audible(system_checks.application_messages(asgi)))
        problems += map(Found, audible(system_checks.history_messages()))
    return Checked(tuple(plans), tuple(gathered(problems)), tuple(autodiscover.excluded))


def audible(messages: Iterable[CheckMessage]) -> Iterator[CheckMessage]:
    """Yield the messages that SILENCED_SYSTEM_CHECKS does not silence."""
    return (message for message in messages if not message.is_silenced())


def service_types(asked: str | None, default: str) -> Sequence[str]:
    """Return the requested service types, the default one first."""
    if asked != ALL:
        return [asked or default]
    return [default, *(name for name in named() if name != default)]


def named() -> list[str]:
    """Return the service types that hooks name, sorted."""
    return sorted({name for hook in lifespan.hooks for name in hook.service_types or ()})


def known() -> list[str]:
    """Return the known service types: the predefined ones, and those that this project names."""
    from lifespan_app.engine.context import ServiceType

    own = [] if any(conf.wrong_types()) else [str(conf.get("SERVICE_TYPE"))]
    return sorted({ALL, *own, *named(), *map(str, ServiceType)})


# For the command.


def check_for(command: CommandWithExitCodes, service_type: str | None, asgi: str | None) -> Checked:
    """Return plans and problems for a command. Raises ``CommandError`` for an invalid argument."""
    # Any word may be a service type. Only one that looks misspelt gets a warning.
    if service_type and service_type not in known():
        if meant := did_you_mean(service_type, known()):
            command.warn(f"No hook names service type '{service_type}'.{meant}")
    try:
        return check(service_type, asgi)
    except LookupError as error:
        raise CommandError(
            f"{error}\nName the application with --asgi as 'module:name', such as "
            "--asgi mysite.asgi:application.",
            returncode=BAD_ARGUMENT,
        ) from error


def show(command: CommandWithExitCodes, found: Checked, form: str, verbosity: int) -> None:
    """Write plans and problems in one of the formats."""
    if form == "json":
        command.stdout.write(as_json.document(found))
    elif form == "mermaid":
        command.stdout.write(graphs.mermaid(found.plans))
    elif form == "dot":
        command.stdout.write(graphs.dot(found.plans))
    else:
        style, width = command.style, width_of_page()
        lines: list[str] = []
        for plan in found.plans if verbosity else ():
            lines += [*PlanText(style, width).lines(plan), ""]
        if verbosity and found.excluded:
            text = f"Not imported, by AUTODISCOVER: the lifespan.py of {', '.join(found.excluded)}"
            lines += [*folded(printable(text), width), ""]
        lines += problem_lines(found.problems, style, width)
        command.stdout.write("\n".join(lines))
        for problem in lifespan.broken.values() if verbosity > 1 else ():
            if problem.cause is not None:
                command.stdout.write("\n" + "".join(traceback.format_exception(problem.cause)))


def fail_for_problems(found: Checked, fail_level: str) -> None:
    """Raise ``CommandError`` if there are problems of a level or above."""
    least = logging.getLevelNamesMapping()[fail_level]
    if wrong := sum(problem.message.level >= least for problem in found.problems):
        what = count(wrong, "problem is", "of these problems are")
        raise CommandError(f"{what} {fail_level} or higher.", returncode=FAILED)
