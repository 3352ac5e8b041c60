"""What is wrong with a set of faces: copies, wrong labels, pictures without a face."""
