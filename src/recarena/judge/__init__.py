"""From predictions and answers to records: checks, metrics, statistics. Every number of a board is made here."""
