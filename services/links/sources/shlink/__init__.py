"""Shlink, which has the most kinds of files."""
