"""Mistakes in the setting ``LIFESPAN``, logged when a run starts: no server runs system checks."""

from __future__ import annotations

from collections.abc import Iterator

from lifespan_app import conf
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.report import Mode, Observer, Phase, Report

SHOWN_ELSEWHERE = frozenset({Mode.CHECK, Mode.TEST})
"""``checklifespan`` shows all problems, and a test may change the setting as it likes."""


class SettingsMistakes(Observer):
    """Log one warning per process that names each mistake, when the first run starts."""

    def __init__(self) -> None:
        self._done = False

    def watches_steps(self, phase: Phase) -> bool:
        """Return False: steps do not matter here."""
        return False

    def run_changed(self, report: Report) -> None:
        """Look for mistakes, once."""
        if self._done or report.mode in SHOWN_ELSEWHERE:
            return
        self._done = True
        if found := list(mistakes()):
            logger.warning(
                "The setting %s has mistakes, which are ignored: %s See 'manage.py check'.",
                conf.SETTING,
                " ".join(found),
            )


def mistakes() -> Iterator[str]:
    """Yield the mistakes in the setting that keep no process from starting."""
    from . import unknown_words  # not paid for by tests and checklifespan

    for message in (*unknown_words.check_keys(), *unknown_words.check_hook_names()):
        if not message.is_silenced():
            # The hint lists all names; here the similar one is enough.
            suggestion, is_close, _ = str(message.hint).partition("? ")
            yield f"{message.msg} {suggestion}?" if is_close else f"{message.msg} {message.hint}"
