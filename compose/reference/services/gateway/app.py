"""The gateway's app."""

from fastapi import FastAPI

from services.gateway import chat, routes
from services.kit.app import create_app
from services.kit.settings import Settings


def build(settings: Settings) -> FastAPI:
    """The app; it keeps nothing, so it is ready once it answers."""
    return create_app(
        settings,
        title="gateway",
        description="The front door: checks client tokens and passes requests to their owners.",
        routers=[chat.router, routes.router],
    )
