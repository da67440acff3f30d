"""On what the methods are tried: data, models, training. Knows no pruning method."""
