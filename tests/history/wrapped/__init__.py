"""A database engine that wraps Django's for PostgreSQL, as those that count queries do."""
