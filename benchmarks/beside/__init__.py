"""The same reports read by this project and by other tools: rows read correctly, seconds, memory, calls."""
