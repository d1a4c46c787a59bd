"""The analysis of failures: ``@analyzer`` registers a function for errors of some classes."""

from .engine.analysis import Analysis, analyzer

__all__ = ["Analysis", "analyzer"]
