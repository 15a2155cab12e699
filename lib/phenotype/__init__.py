"""From phenotype images and labels to features."""
