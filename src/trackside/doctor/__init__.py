"""`trackside doctor`: looks at everything that can be set up wrong, and says what to change."""
