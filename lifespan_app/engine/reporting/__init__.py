"""Telling: what a run has done, as frozen values, and those who are told of it."""
