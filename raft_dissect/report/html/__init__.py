"""The report as one HTML page that needs no network and no script."""

from raft_dissect.report.html.page import html_page
from raft_dissect.report.html.watching import Watched, Watcher

__all__ = ["Watched", "Watcher", "html_page"]
