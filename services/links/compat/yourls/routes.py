"""YOURLS: `/yourls-api.php`."""

from fastapi import APIRouter


def yourls_router() -> APIRouter:
    """Return the routes of YOURLS."""
    return APIRouter()
