"""Comment commands: a comment's first line → Command, Reply or Ignore; who may, what is dispatched, what is re-read."""
