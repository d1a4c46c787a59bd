"""Running: a plan, taken through startup, service and shutdown on one event loop."""
