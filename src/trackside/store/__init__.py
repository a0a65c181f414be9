"""The data branch: run records and what they answer, read from a clone or by API, written in atomic commits."""
