"""Times: where they come from, whether they can be trusted, and whether they have changed."""
