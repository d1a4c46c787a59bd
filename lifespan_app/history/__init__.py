"""History: the record of every run, kept in the database."""
