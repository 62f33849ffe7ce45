"""All that a contender's process imports: the standard library and numpy, nothing of the other rooms."""
