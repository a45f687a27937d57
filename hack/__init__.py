"""What serves development alone: a local cluster, the images, the demo, generators."""
