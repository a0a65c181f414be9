"""How far two columns are apart and how sure that is: the table of tests, a function each."""
