"""Jobs: `llc` makes a whole experiment, the others one partition of one family."""
