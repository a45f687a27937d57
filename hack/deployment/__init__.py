"""The chart on the cluster of `make up`: install it, reach it, ask it."""
