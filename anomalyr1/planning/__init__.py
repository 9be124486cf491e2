"""What a training run will need, from its config alone: parameters, tokens, memory a GPU."""
