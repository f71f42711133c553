"""PyTorch to Core ML, LiteRT and ExecuTorch: capture, cut, convert, prove, pack."""
