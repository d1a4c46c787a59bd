"""Told: what a run has done, as frozen values, and the observers that get them.

Imports ``engine.planning`` and ``engine.hooks``.
"""
