"""Tests of the Core ML reference interpreter."""
