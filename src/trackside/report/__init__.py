"""From two runs (or commits) to a verdict a reviewer can act on: differences, statistics, rendering, publishing."""
