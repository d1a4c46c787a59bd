"""Written: how a run gets into the database, and what becomes of it there.

Imports ``engine``, ``models`` and ``conf``.
"""
