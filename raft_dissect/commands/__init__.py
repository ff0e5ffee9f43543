"""The commands, one module each, and what they share: arguments, exit codes, the run over a capture, its outputs."""
