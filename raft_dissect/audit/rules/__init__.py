"""The rules, one module for each group: what they demand, and how that is seen."""
