"""Where code waits: the stacks of tasks and threads, and the watchdog of the event loop.

Imports the engine's shared modules.
"""
