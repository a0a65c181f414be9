"""A GitHub on the loopback interface: REST subset, git over HTTP, workflows run by act, web pages."""
