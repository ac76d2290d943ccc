"""The race: several models, the same data, the same minutes, one report."""
