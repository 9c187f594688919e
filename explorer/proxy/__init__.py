"""The proxy task: data and a short training that stand for ImageNet and 300 epochs."""
