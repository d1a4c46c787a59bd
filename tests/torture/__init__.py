"""The parts of ``make torture``: what is tried for longer than a test run allows."""
