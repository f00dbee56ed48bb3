"""Knows Amazon's operations: how each reads its HTTP request and writes its answer."""
