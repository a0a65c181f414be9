"""What is kept of a column: mergeable counts in bounded memory, a pure function of the values whatever their order."""
