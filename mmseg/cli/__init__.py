"""What the commands share: their options, how they end, what they start."""
