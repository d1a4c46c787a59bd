"""Declared: hooks, the registry that holds them, and the signatures of their functions.

Imports ``engine.stacks`` and the engine's shared modules.
"""
