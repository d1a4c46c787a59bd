"""The record of runs in the database: written by ``recording``, read by ``reading``."""
