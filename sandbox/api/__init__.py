"""Knows the calls: Amazon's operations as HTTP requests and answers."""
