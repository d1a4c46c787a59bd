"""A backend of Django's tasks that runs them in the process which enqueues them.

It needs Django 6.0 or newer::

    TASKS = {"default": {"BACKEND": "lifespan_app.contrib.tasks.InProcess"}}
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from inspect import iscoroutinefunction
from traceback import format_exception
from types import FrameType
from typing import Any, ParamSpec, TypeAlias, TypeVar

from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskContext, TaskError, TaskResult, TaskResultStatus
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.json import normalize_json

from lifespan_app.engine.running.spawned import Place, spawn
from lifespan_app.integration.default import lifespan

P = ParamSpec("P")
R = TypeVar("R")
AnyResult: TypeAlias = "TaskResult[..., Any]"

ABOVE = ("django.tasks", __name__)
"""The modules between the code that enqueues a task and ``lifespan.spawn()``."""


class InProcess(BaseTaskBackend):
    """Run tasks with ``lifespan.spawn()``: in this process, within the limits of ``SPAWN``.

    A task is lost with its process. Async tasks run on the event loop, sync ones in threads. Results
    can't be retrieved, tasks can't be deferred, and have no priority.
    """

    supports_async_task = True
    supports_defer = False
    supports_get_result = False
    supports_priority = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.worker_id = get_random_string(32)

    def enqueue(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Run a task in the background of this process.

        Returns:
            Its result, which changes while the task runs.

        Raises:
            InvalidTask: this backend can't run such a task.
            NotRunning: no lifespan is running here, or it is stopping.
            QueueFull: too many tasks wait.
        """
        result = self._spawned(task, args, kwargs, place_of(sys._getframe(1)))
        task_enqueued.send(type(self), task_result=result)
        return result

    async def aenqueue(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Run a task in the background of this process. Returns and raises what ``enqueue`` does."""
        result = self._spawned(task, args, kwargs, place_of(sys._getframe(1)))
        await task_enqueued.asend(type(self), task_result=result)
        return result

    def _spawned(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any], place: Place
    ) -> TaskResult[P, R]:
        self.validate_task(task)
        result: TaskResult[P, R] = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        run = self._async_run if iscoroutinefunction(task.func) else self._sync_run
        spawn(lifespan, run(result), (), {}, None, place)
        return result

    def _sync_run(self, result: AnyResult) -> Callable[[], Any]:
        @functools.wraps(result.task.func)
        def run() -> None:
            self._begins(result)
            task_started.send(type(self), task_result=result)
            try:
                value = result.task.func(*arguments_of(result), **result.kwargs)
                self._succeeds(result, value)
            except BaseException as error:
                self._fails(result, error)
                task_finished.send(type(self), task_result=result)
                raise
            task_finished.send(type(self), task_result=result)

        return run

    def _async_run(self, result: AnyResult) -> Callable[[], Any]:
        @functools.wraps(result.task.func)
        async def run() -> None:
            self._begins(result)
            await task_started.asend(type(self), task_result=result)
            try:
                value = await result.task.func(*arguments_of(result), **result.kwargs)
                self._succeeds(result, value)
            except BaseException as error:
                self._fails(result, error)
                await task_finished.asend(type(self), task_result=result)
                raise
            await task_finished.asend(type(self), task_result=result)

        return run

    def _begins(self, result: AnyResult) -> None:
        now = timezone.now()
        change(result, status=TaskResultStatus.RUNNING, started_at=now, last_attempted_at=now)
        result.worker_ids.append(self.worker_id)

    def _succeeds(self, result: AnyResult, value: Any) -> None:
        change(result, _return_value=normalize_json(value))
        change(result, status=TaskResultStatus.SUCCESSFUL, finished_at=timezone.now())

    def _fails(self, result: AnyResult, error: BaseException) -> None:
        kind = type(error)
        result.errors.append(
            TaskError(
                exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
                traceback="".join(format_exception(error)),
            )
        )
        change(result, status=TaskResultStatus.FAILED, finished_at=timezone.now())


def change(result: AnyResult, **fields: Any) -> None:
    """Set fields of a result, which is frozen for all but its backend."""
    for name, value in fields.items():
        object.__setattr__(result, name, value)


def arguments_of(result: AnyResult) -> list[Any]:
    """Return the positional arguments of a task, with its context if it takes one."""
    first: list[Any] = [TaskContext(task_result=result)] if result.task.takes_context else []
    return [*first, *result.args]


def place_of(frame: FrameType) -> Place:
    """Return the line that enqueues a task."""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ABOVE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
