"""Run: a plan taken through startup, service and shutdown on one event loop.

Imports ``engine.planning`` and ``engine.reporting``.
"""
