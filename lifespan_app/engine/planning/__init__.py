"""Planned: the order in which the hooks of one service type run, with the reasons.

Imports ``engine.hooks``.
"""
