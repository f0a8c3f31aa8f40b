"""Discord's bad days, made on purpose: `catalogue` says what an incident is, the other modules what happens in each."""
