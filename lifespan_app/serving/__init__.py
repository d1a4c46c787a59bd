"""Servers and requests: the lifespan protocol, Django's handler, ``request.state``.

Imports ``compat``, ``health``, ``integration`` and ``engine``.
"""
