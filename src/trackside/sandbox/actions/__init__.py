"""Workflows of the sandbox: which ones an event starts, and their jobs run one by one with act."""
