"""Planned: the order in which the hooks of one service type run, and why.

Imports ``engine.hooks``.
"""
