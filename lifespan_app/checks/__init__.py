"""System checks: what ``manage.py check`` says of hooks, settings, servers and the history.

Imports ``serving``, ``history``, ``integration`` and ``engine``.
"""
