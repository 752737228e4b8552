"""How the gateway passes a neighbour's answer on: what the client may see, else 503."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.kit.errors import ErrorAnswer, ServiceError
from services.kit.logs import warn

if TYPE_CHECKING:
    import httpx

# The client's own doing. A 401 is not: there the gateway's token was refused.
_PASSED_ON = frozenset({403, 404, 409, 413, 422, 429, 503})


def checked(response: httpx.Response, neighbour: str) -> bytes:
    """The body of a good answer, whose bytes have been read.

    Raises:
        ServiceError: the neighbour's own error where it concerns the client, else 503.
    """
    if response.is_success:
        return response.content
    if response.status_code in _PASSED_ON:
        try:
            error = ErrorAnswer.model_validate_json(response.content).error
        except ValueError:
            pass  # not in our one shape: not fit to be shown
        else:
            raise ServiceError(response.status_code, error.message, error.code)
    raise broken(neighbour, f"unexpected status {response.status_code}")


def broken(neighbour: str, reason: str) -> ServiceError:
    """A neighbour that answers wrongly is to the client as good as one that is down."""
    warn("neighbour answered wrongly", neighbour=neighbour, reason=reason)
    return ServiceError(503, f"{neighbour} does not answer as it should: try again later")
