"""What a person chose, and the screen where it is chosen."""
