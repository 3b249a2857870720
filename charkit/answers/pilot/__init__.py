"""What the available labels show: heads of the pilot, evidence for the metamodel, its stages."""
