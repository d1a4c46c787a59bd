"""System checks: the messages of ``manage.py check`` on hooks, settings, servers and the history.

Imports ``processes``, ``serving``, ``history``, ``integration``, ``conf`` and ``engine``.
"""
