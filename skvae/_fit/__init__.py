"""One fit: the training loop, what it trains and keeps, and the files that hold it."""
