"""Shlink's REST API: `/rest/v1` to `/rest/v3`, and `/rest/health`."""

from fastapi import APIRouter


def shlink_router() -> APIRouter:
    """Return the routes of Shlink."""
    return APIRouter()
