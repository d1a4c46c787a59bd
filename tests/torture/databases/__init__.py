"""Faults of the database under servers that answer requests: the answers, and what is recorded after it.

A cell is a database and a fault. While clients ask a server with two workers, for views that need no
database and for one that does, other servers start and stop before the fault and in it. Afterwards the
history is held against the project's journal.
"""
