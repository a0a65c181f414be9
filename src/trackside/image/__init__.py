"""A released model and its service become a container image: built, smoke-tested, pushed, linked to its release."""
