"""Traffic of a known shape: profiles, schedule, generator, samples and what they come to."""
