"""From drift to a pull request that trains again: when one is due, what it changes, what it says, when it is merged."""
