"""Vectors in two bits a dimension, and the centroid they are measured from. Pure."""
