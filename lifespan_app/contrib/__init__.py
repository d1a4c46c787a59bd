"""A module for each other package that is supported. Only that module imports the package."""
