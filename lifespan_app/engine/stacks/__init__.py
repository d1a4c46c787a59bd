"""The stacks of tasks and threads, to find the line where one waits; and the loop's watchdog.

Imports the engine's shared modules.
"""
