"""Signals and lifespan managers, as the earlier packages have them.

Imports ``integration`` and ``engine``.
"""
