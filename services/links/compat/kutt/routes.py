"""Kutt's API: `/api/v2/`."""

from fastapi import APIRouter


def kutt_router() -> APIRouter:
    """Return the routes of Kutt."""
    return APIRouter()
