"""What went wrong in a cluster, in plain words: findings over the facts that the analysis gives."""
