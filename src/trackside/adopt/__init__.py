"""Moving a repository over: find its pipeline, draft the configuration, write the workflows without overwriting."""
