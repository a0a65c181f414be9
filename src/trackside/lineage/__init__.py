"""Where a version came from and what came of data, code and runs: the records and tags as one graph, both ways."""
