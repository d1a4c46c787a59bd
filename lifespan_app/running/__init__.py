"""What ``runlifespan`` does: open a plan without a server, around one, or in one for development."""
