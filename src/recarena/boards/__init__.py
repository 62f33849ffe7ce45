"""From records to markdown and JSON: pure functions, no clock, no data, no contender's code."""
