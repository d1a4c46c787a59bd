"""The work of the management commands, and how a terminal shows it.

Imports every room but ``admin`` and ``testing``.
"""
