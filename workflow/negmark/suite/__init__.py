"""A suite's config, checked, and turned into paths, job settings and targets for the rules."""
