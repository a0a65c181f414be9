"""GitHub behind narrow Protocols: own frozen models, operations as values, and one PyGithub adapter."""
