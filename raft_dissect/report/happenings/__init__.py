"""Happenings as lines of text and as JSON objects."""
