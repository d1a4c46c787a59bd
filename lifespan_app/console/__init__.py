"""What a terminal shows: the plan, what is wrong with it, and what a run does while it does it."""
