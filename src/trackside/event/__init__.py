"""GitHub's event payloads → typed events: which pull request, which commit, who asked."""
