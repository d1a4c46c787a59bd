"""The errors of lifespan_app."""

from .engine.errors import (
    HookError,
    LifespanError,
    LimitPassed,
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
    "LimitPassed",
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
