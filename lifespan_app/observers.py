"""Being told what runs do: inherit ``Observer``, and give it to ``lifespan.observe()``."""

from .engine.reporting.report import Observer, Report, Step

__all__ = ["Observer", "Report", "Step"]
