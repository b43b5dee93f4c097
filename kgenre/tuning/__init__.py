"""Search before training: a learning rate, a batch size."""
