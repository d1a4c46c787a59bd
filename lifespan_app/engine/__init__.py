"""The engine: hooks, plans, runs and reports, on plain asyncio.

It imports the standard library only. The modules here are shared by its rooms, except for two that
use all rooms: ``lifespan`` (the public face) and ``adapter`` (the interface to the host program).
"""
