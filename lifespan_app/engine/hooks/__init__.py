"""Declared: hooks, the registry that holds them, and the signatures of their functions.

Imports the engine's shared modules.
"""
