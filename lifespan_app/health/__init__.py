"""Health of a process: views for a platform, and the status file that the probe reads.

Imports ``integration`` and ``engine``.
"""

from .views import livez, readyz, startupz

__all__ = ["livez", "readyz", "startupz"]
