"""Whether a version may be believed: what its files would import, who signed what, and whether every link holds."""
