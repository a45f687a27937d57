"""Quantization of vectors to two bits a dimension, and the centroid it is relative to. Pure."""
