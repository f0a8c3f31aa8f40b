"""The commands of a bot: what its files may hold, how they are checked, and their registration at Discord."""
