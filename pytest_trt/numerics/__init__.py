"""The arithmetic of a verdict: number formats, accumulation bounds, intervals, data batteries (numpy only)."""
