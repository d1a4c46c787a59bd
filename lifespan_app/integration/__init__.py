"""The engine in a Django project: settings, autodiscovery, database connections, asgiref.

Imports ``engine`` and ``conf``.
"""
