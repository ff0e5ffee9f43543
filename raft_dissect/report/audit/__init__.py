"""The audit's results, one module for each format: text, JSON, SARIF, JUnit; and a trace for formal checking."""
