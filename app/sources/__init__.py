"""Where frames come from: photos, replays, a moving pattern, cameras."""
