"""Reading a server's pairing code from the camera or from a picture."""
