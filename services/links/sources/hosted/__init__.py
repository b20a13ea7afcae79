"""Shorteners that are services, whose files come from their dashboards and APIs."""
