"""Which method to take on a user's own collection, within a time: a board of its own, and what it says in a page."""
