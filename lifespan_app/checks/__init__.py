"""System checks: the messages of ``manage.py check`` on hooks, settings, servers and the history.

Imports ``serving``, ``history``, ``integration`` and ``engine``.
"""
