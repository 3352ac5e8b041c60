"""Studies: several trainings that answer one question, and a page with the results."""
