"""The product's main job where everyone can watch: on this machine, and on the cluster of `make up`."""
