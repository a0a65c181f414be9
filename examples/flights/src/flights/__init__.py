"""Will a New York flight arrive more than 15 minutes late? From the flights of 2013, with what the schedule tells."""
