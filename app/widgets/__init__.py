"""The pieces of the screens, each with its layout in the .kv file of the same name."""
