"""Hooks that run once where several processes declare them, on real databases."""
