"""The `headtail` command: one verb a file; each parses, calls one library function and prints."""
