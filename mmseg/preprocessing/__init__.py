"""Source crops, their depth statistics, and the converters of raw labels."""
