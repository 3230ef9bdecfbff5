"""What the papers claim, beside what a results folder holds."""
