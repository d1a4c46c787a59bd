"""A module for each neighbour. What it needs is imported by nobody else."""
