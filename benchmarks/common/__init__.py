"""What several benchmarks share: the systems they run on, measured processes, the minimum of calls, and the summary table."""
