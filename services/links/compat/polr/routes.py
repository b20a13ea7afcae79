"""Polr's API: `/api/v2/action/…`, and TinyURL's `/api-create.php`."""

from fastapi import APIRouter


def polr_router() -> APIRouter:
    """Return the routes of Polr."""
    return APIRouter()
