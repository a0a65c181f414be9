"""The model registry: versions and stages as git tags, releases with everything that a version needs."""
