"""One screen per file, with its layout in the .kv file of the same name."""
