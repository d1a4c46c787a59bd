"""Reported: the steps and the state of a run, as frozen values, and the observers that get them.

Imports ``engine.planning`` and ``engine.hooks``.
"""
