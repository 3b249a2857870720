"""Fitting what ships: settings by trials, the metamodel, the gains of learners."""
