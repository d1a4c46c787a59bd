"""The texts of alerts."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy

from lifespan_app.conf import Change
from lifespan_app.history.reading import advice, describe, time_text
from lifespan_app.models import LifespanRun, LifespanStep, Status

SUBJECTS = {
    Change.SERVING: gettext_lazy("%(type)s is serving"),
    Change.DEGRADED: gettext_lazy("%(type)s is degraded"),
    Change.NOT_READY: gettext_lazy("%(type)s is not ready"),
    Change.RECOVERED: gettext_lazy("%(type)s has recovered"),
    Change.FAILED: gettext_lazy("%(type)s failed to start"),
    Change.LOST: gettext_lazy("%(type)s is lost"),
    Change.STOPPED: gettext_lazy("%(type)s stopped"),
}
FAILED_TO_STOP = gettext_lazy("%(type)s failed to stop")
FACTS = ("service_type", "environment", "release", "host", "pid", "status", "fingerprint")


def subject(run: LifespanRun, change: str) -> str:
    """Return a change in one line, with the environment and the release."""
    text = FAILED_TO_STOP if run.status == Status.SHUTDOWN_FAILED else SUBJECTS[Change(change)]
    where = ", ".join(word for word in (run.environment, run.release) if word)
    sentence = str(text) % {"type": run.service_type}
    return " ".join(f"{sentence} ({where})".split())


def body(run: LifespanRun) -> str:
    """Return the text of a mail about a run."""
    steps = steps_of(run)
    lines = [describe.headline(run, steps), *failures(run, steps), ""]
    pid = gettext("pid %d") % run.pid
    process = [run.service_type, run.release, run.environment, run.host, pid]
    lines += [", ".join(word for word in [*process, run.server] if word)]
    lines += [gettext("Started %(time)s") % {"time": time_text.clock(run.started_at)}, ""]
    if sentences := advice.for_run(run, steps):
        lines += [gettext("What to do"), *(f"- {sentence}" for sentence in sentences), ""]
    command = f"manage.py showlifespan {run.uuid}"
    lines += [gettext("More: %(command)s") % {"command": command}]
    lines += [gettext("The same alert is not sent again within one hour.")]
    return "\n".join(lines) + "\n"


def payload(run: LifespanRun, change: str, previous: str) -> dict[str, Any]:
    """Return a change as JSON: ``text`` is for people, the other keys are for programs."""
    steps = steps_of(run)
    text = "\n".join([describe.headline(run, steps), *failures(run, steps)])
    return {
        "text": f"*{plain(subject(run, change))}*\n{plain(text)}\n{run.uuid}",
        "change": change,
        "previous": previous,
        "run": str(run.uuid),
        "started_at": run.started_at.isoformat(),
        "error": run.error,
        **{name: getattr(run, name) for name in FACTS},
    }


def failures(run: LifespanRun, steps: list[LifespanStep]) -> list[str]:
    """Return the errors of the first failed hooks, a line each; without steps, that of the run."""
    found = describe.broken(steps)[: describe.MOST_NAMES]
    if not found:
        return [run.error.partition("\n")[0]] if run.error else []
    return [
        f"{step.key} ({describe.place(step)}): {describe.error_line(step) or step.waiting_at}"
        for step in found
    ]


def plain(text: str) -> str:
    """Escape what Slack reads as a link, or as a call to a channel."""
    # https://docs.slack.dev/messaging/formatting-message-text/#escaping
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def steps_of(run: LifespanRun) -> list[LifespanStep]:
    """Return the recorded steps of a run; none while it waits in a spool file."""
    return [] if run.pk is None else list(run.steps.order_by("pk"))
