"""Signs of life that background jobs give."""

from __future__ import annotations

from lifespan_app.engine.current_hook import current_hook

from .hook_run import HookRun


def beat() -> None:
    """Keep that a job is alive, as ``Lifespan.beat`` describes it."""
    hook_run = current_hook.get()
    if not isinstance(hook_run, HookRun) or hook_run.job is None:
        return
    run = hook_run.run
    if hook_run.job.lives(run.adapter.clock()):
        run.on_its_loop(run.recovers, hook_run)
