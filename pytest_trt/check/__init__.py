"""One model through reference, engine, limits and relations, to a verdict."""
