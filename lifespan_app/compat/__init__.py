"""Signals and lifespan managers, as the earlier packages have them.

Imports ``types``, ``integration`` and ``engine``.
"""
