"""Training: a recipe, schedules, one visible loop, and a run folder that survives a kill at any moment."""
