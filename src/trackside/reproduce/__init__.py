"""Trains a recorded run again, aside from any checkout, and tells what is the same and what explains the rest."""
