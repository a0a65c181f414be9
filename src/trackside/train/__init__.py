"""Trains one model: pulls data, reproduces its pipeline with no secret in reach, pushes outputs, records the run."""
