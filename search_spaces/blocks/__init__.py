"""The block generator: what an Architecture is made of, in torch."""
