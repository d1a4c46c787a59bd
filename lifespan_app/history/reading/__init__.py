"""Read: the record of runs as the admin, the commands and the checks ask for it.

Imports ``history.recording`` and ``models``.
"""
