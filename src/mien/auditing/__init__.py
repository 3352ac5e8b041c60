"""Audit a set of faces: find copies, wrong labels and pictures without a face."""
