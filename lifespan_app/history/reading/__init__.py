"""Queries and summaries of the recorded runs, for the admin, the commands and the checks.

Imports ``history.recording`` and ``models``.
"""
