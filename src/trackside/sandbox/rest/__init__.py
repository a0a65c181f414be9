"""The REST endpoints: one row a route with the permission it needs, answers shaped by GitHub's own examples."""
