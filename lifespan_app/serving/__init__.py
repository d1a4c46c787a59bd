"""Servers and requests."""
