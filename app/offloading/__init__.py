"""Where frames are computed: what a person allows, what the engine saw, and why it decided so."""
