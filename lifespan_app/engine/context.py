"""The context of a hook: the process that it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .current_hook import current_lease

if TYPE_CHECKING:
    from .lease import Lease


class ServiceType(StrEnum):
    """The usual kinds of process. A word of your own is as good, given as a plain string."""

    APP = "app"
    API = "api"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    TEST = "test"
    SERVER = "server"


def plain(value: object) -> str:
    """Return a value as a plain string: of a string that is a member of an ``Enum``, its value.

    ``str()`` of such a member is its name, such as "Kind.WEB".
    """
    return value + "" if isinstance(value, str) else str(value)


class LifespanContext:
    """The kind of process, and its configuration, for hooks.

    Args:
        service_type: the plan that runs: ``app``, ``api``, ``worker``, ``scheduler``, ``test``,
            ``server``, or a word of your own.
        environment: ``development``, ``production``, or a word of your own.
        config: configuration for the hooks, by key.
        metadata: values that hooks pass to one another; kept from startup to shutdown.
    """

    __slots__ = ("config", "environment", "metadata", "service_type")

    def __init__(
        self,
        service_type: str = "app",
        environment: str = "development",
        config: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.service_type = plain(service_type)
        self.environment = plain(environment)
        self.config: dict[str, Any] = dict(config or {})
        self.metadata: dict[str, Any] = dict(metadata or {})

    @property
    def lease(self) -> Lease | None:
        """The lease of the hook that asks, if it has ``once``; None in shells and tests."""
        return current_lease.get()

    def get_config(self, key: str, default: Any = None) -> Any:
        """Return the configuration value of ``key``, or ``default``."""
        return self.config.get(key, default)

    def set_metadata(self, key: str, value: Any) -> None:
        """Leave ``value`` under ``key`` for hooks that run later, shutdown included."""
        self.metadata[key] = value

    def get_metadata(self, key: str, default: Any = None) -> Any:
        """Return a hook's value for ``key``, or ``default``."""
        return self.metadata.get(key, default)

    def is_worker(self) -> bool:
        """Return True if this is a worker."""
        return self.service_type == ServiceType.WORKER

    def is_api(self) -> bool:
        """Return True if this process answers requests: ``api``, and ``app`` too."""
        return self.service_type in (ServiceType.API, ServiceType.APP)

    def is_test(self) -> bool:
        """Return True if this is a test."""
        return self.service_type == ServiceType.TEST

    def __repr__(self) -> str:
        return (
            f"LifespanContext(service_type={self.service_type!r}, "
            f"environment={self.environment!r}, config={self.config!r}, "
            f"metadata={self.metadata!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LifespanContext):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value
