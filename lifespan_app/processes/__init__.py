"""Plans of processes without an ASGI server: commands, workers, ``runlifespan``.

Imports ``health``, ``conf``, ``integration`` and ``engine``.
"""
