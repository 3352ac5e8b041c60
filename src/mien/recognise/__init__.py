"""Recognition: from pictures to faces and expressions, offline and without torch."""
