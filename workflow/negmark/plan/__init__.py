"""What a suite will take before any of it runs: jobs, hours, memory and disk."""
