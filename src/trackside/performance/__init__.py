"""How good a model is on current data: with labels, however late, and without any."""
