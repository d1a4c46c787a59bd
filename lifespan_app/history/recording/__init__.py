"""Writing of runs to the database, and maintenance of the recorded ones.

Imports ``engine``, ``models`` and ``conf``.
"""
