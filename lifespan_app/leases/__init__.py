"""Leases in the database of the history, for hooks that run once where several processes declare them.

Imports ``engine``, ``models``, ``conf``, ``integration`` and ``history.recording``.
"""
