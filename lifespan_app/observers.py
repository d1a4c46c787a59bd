"""Observers of runs: inherit from ``Observer``, and pass it to ``lifespan.observe()``."""

from .engine.reporting.report import Observer, Report, Step

__all__ = ["Observer", "Report", "Step"]
