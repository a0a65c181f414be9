"""The sandbox's web pages: what a person sees of repositories, pull requests, releases and workflow runs."""

from __future__ import annotations

from trackside.sandbox.web.app import routes
from trackside.sandbox.web.export import export

__all__ = ["export", "routes"]
