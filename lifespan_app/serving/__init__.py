"""Servers and requests: the lifespan protocol, Django's handler, ``request.state``.

Imports ``compat``, ``health``, ``conf``, ``integration`` and ``engine``.
"""
