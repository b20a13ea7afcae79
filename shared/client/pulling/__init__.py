"""Pulls the links of another shortener over its API into a file, which the importer then reads like any other.

`pull` asks the API as slowly as it wants to be asked, and writes a line of JSON for each link and page of visits. A file that
was begun goes on where it was.
"""

from .file import Pulled, PullFailed
from .pulling import KINDS, guess_kind, pull

__all__ = ["KINDS", "PullFailed", "Pulled", "guess_kind", "pull"]
