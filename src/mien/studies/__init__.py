"""Questions answered by using the rooms below: trainings that belong together, and a page that says what they show."""
