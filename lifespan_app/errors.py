"""The errors of lifespan_app."""

from .engine.errors import (
    HookError,
    LifespanError,
    NotRunning,
    PlanError,
    QueueFull,
    ReadError,
    ResourceClosed,
    ResourceNotReady,
    UndeclaredUse,
    WrongLoop,
)
from .engine.problem import Problem

__all__ = [
    "HookError",
    "LifespanError",
    "NotRunning",
    "PlanError",
    "Problem",
    "QueueFull",
    "ReadError",
    "ResourceClosed",
    "ResourceNotReady",
    "UndeclaredUse",
    "WrongLoop",
]
