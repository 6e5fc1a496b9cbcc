"""Training: what a run is, R runs at once, evaluation, transfer and visual prompts."""
