"""The work of the management commands, and their output in a terminal.

Imports every room but ``admin`` and ``testing``.
"""
