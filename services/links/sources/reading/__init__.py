"""Reads files of each kind as streams, with bounds, and names the line of every fault."""
