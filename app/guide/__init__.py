"""The three steps of a first start."""
