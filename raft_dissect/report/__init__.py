"""The results for people and programs: one module per format."""

from raft_dissect.report.model import SCHEMA, CaptureFacts, Report

__all__ = ["SCHEMA", "CaptureFacts", "Report"]
