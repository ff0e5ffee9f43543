"""TLS connections in a capture: their records, the secrets of a key log, and what stands in them in clear."""
