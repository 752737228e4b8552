"""Packs a repository into an index of chunks under a token budget (H5)."""

from services.executor.pack.routes import BODY_LIMIT_BYTES, PATH, router

__all__ = ["BODY_LIMIT_BYTES", "PATH", "router"]
