"""Watching clusters while packets come: the loop that takes them, and the views that show what it knows."""
