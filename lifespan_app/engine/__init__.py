"""The engine: hooks, plans, runs and reports, on plain asyncio.

It imports the standard library only. The modules here are what its rooms share, and the two that
stand above them: ``lifespan`` (the public face) and ``adapter`` (what the program around it gives).
"""
