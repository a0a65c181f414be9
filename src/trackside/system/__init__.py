"""The machine: child processes (argv only), the clock, and GitHub's workflow commands."""
