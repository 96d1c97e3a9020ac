"""Records made into text; knows nothing of pytest."""
