"""The engine: hooks, registry, plan, runner, report. Plain asyncio; it knows nothing of Django."""
