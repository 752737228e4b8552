"""The executor's tools: shell, file and browser, under a policy that the server enforces."""

from services.executor.tools.routes import router

__all__ = ["router"]
