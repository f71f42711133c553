"""One test module per kind of source."""
