"""From a raw file to a question and its answers: recipes, sources, parsers, splits."""
