"""One screen per file, with its layout in the .kv file of the same name."""

from app import widgets as widgets  # says how the window is to be made, before a screen makes it
