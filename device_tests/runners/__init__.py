"""Programs that run on a target, one per runtime; nothing else is pushed there."""
