"""From a public collection, or the user's own, to the tables that all stages read."""
