"""Plans of processes without an ASGI server: commands, workers, ``runlifespan``.

Imports ``health``, ``integration`` and ``engine``.
"""
