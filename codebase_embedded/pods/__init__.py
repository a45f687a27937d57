"""Pods as processes: what a kubelet is to a node."""
