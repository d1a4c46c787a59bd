"""The exceptions: each names the problem, the place, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .wording import count

if TYPE_CHECKING:
    from .problem import Problem


class LifespanError(Exception):
    """The root of every error that lifespan_app raises by itself."""


class ReadError(LifespanError, KeyError, AttributeError):
    """A resource could not be read.

    It is a ``KeyError`` and an ``AttributeError`` as well, since a resource is read as
    ``state["name"]``, as ``state.name`` and through its handle.
    """

    # KeyError shows the repr of its argument; a sentence should be shown as a sentence.
    __str__ = Exception.__str__


class NotRunning(ReadError):
    """No lifespan is running here, so there is no resource to read."""


class ResourceClosed(ReadError):
    """The resource was closed, has crashed, or never came up."""


class ResourceNotReady(ReadError):
    """The resource is not up yet."""


class UndeclaredUse(ReadError):
    """A hook read a resource without declaring it as a dependency."""


class WrongLoop(ReadError):
    """A resource that lives on one event loop was read on another running loop."""


class QueueFull(LifespanError):
    """Too many spawned functions wait for a place."""


class HookError(LifespanError):
    """A hook broke a rule of the engine: it took too long, did not yield, yielded twice."""


class LimitPassed(HookError):
    """A hook has passed a time limit.

    Args:
        cause: the hook, the limit, and the location where the hook waits.
        action: the setting that raises the limit.
        server_waits: True if the server waits meanwhile, and may have a limit of its own.
    """

    # A pickled error is made again of its text alone, and then gets its attributes.
    def __init__(self, cause: str, action: str = "", *, server_waits: bool = False) -> None:
        super().__init__(f"{cause} {action}".strip())
        self.cause = cause
        self.action = action
        self.server_waits = server_waits


class PlanError(LifespanError):
    """The plan can't be made: everything that is wrong with it, all at once.

    Args:
        service_type: the service type of the plan.
        problems: the problems, each with its place and its remedy.
    """

    def __init__(self, service_type: str, problems: Sequence[Problem]) -> None:
        self.service_type = service_type
        self.problems = tuple(problems)
        lines = "\n".join(f"- {problem}" for problem in self.problems)
        super().__init__(
            f"The plan of service type '{service_type}' has {count(len(self.problems), 'problem')}:\n{lines}"
        )


def listed(what: str, names: Sequence[str]) -> str:
    """Return ``names`` as a sentence that stays readable however many there are."""
    if not names:
        return f"{what} there are: none."
    shown = ", ".join(names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{what} there are: {shown}{more}."


def with_article(kind: type) -> str:
    """Return the name of a type behind its indefinite article: "a Lock", "an AsyncClient"."""
    return f"{'an' if kind.__name__[:1] in 'AEIOUaeiou' else 'a'} {kind.__name__}"
